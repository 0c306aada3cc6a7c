"""The customers' own pages: enrol, suspend, change the device, correct a token's time. They decide nothing about
tokens: the desk does.
"""
