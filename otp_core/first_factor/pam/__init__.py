"""The PAM stack of this machine as a first factor: modules that know the passwords, asked in child processes.

A module may hang, crash, or change the whole process it runs in. So none is ever loaded into a process that serves:
``child`` is a program of its own that does one conversation at a time, ``children`` keeps a bounded number of them and
kills one that takes too long, ``passwords`` says what their answers mean.
"""
