"""Measuring a server from outside: the load of a real indexing client, and what the server did with it.

    texts.py    real code, cut to the lengths that indexing clients send, dealt into waves of equal work
    client.py   one keep-alive connection, bodies made before the clock, answers decoded after it
    load.py     a turn: ten connections in a closed loop, whole waves; single texts, idle and meanwhile
    servers.py  a server that is up, or one that is started here (cold start), its memory and CPU time
    shapes.py   floating-point operations of a token, for the share of the machine's matrix-product rate
    runner.py   several servers in short turns, A B A B; figures -> Report
    report.py   the table, the JSON, the picture

It speaks HTTP only and imports none of the engine: any OpenAI-compatible server can be driven.
"""
