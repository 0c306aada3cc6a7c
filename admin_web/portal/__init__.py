"""The customers' own pages: enrol, suspend, change the device, set a token's clock right. They decide nothing about
tokens: the desk does.
"""
