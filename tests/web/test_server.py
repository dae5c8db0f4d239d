"""The listening socket that both servers share."""

import asyncio
import socket

from embedserve.web.server import listening


def test_answers_do_not_wait_for_acknowledgements():
    """Regression: without uvloop an answer of two writes took 40 ms more: asyncio left Nagle's algorithm on."""

    async def body(listener):
        seen = asyncio.get_running_loop().create_future()

        async def accepted(_reader, writer):
            accepted_socket = writer.get_extra_info("socket")
            seen.set_result(accepted_socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            writer.close()

        async with await asyncio.start_server(accepted, sock=listener):
            _, writer = await asyncio.open_connection(*listener.getsockname())
            assert await asyncio.wait_for(seen, 10) != 0
            writer.close()

    with listening("127.0.0.1", 0) as listener:
        asyncio.run(body(listener))
