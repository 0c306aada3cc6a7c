"""The figures of all processes of the server, and where programs that watch may read them ([metrics])."""
