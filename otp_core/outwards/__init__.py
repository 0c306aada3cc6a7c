"""What follows the audit trail outwards, whoever takes it: how far it has come, how it does. Of the store it writes no
more than that.
"""
