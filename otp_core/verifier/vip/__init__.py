"""VIP User Services: who verifies the codes of VIP Access. SOAP 1.1 over mutual TLS. It decides nothing about
customers, opens no transaction, and never accepts by itself: what is no clear answer is silence.
"""
