"""A real SMTP server for the tests: prints its port, then each message it accepts as one JSON line."""

import asyncio
import email
import email.policy
import json
import signal

from aiosmtpd.smtp import SMTP


class Printer:
    async def handle_DATA(self, server, session, envelope):
        message = email.message_from_bytes(envelope.content, policy=email.policy.default)
        body = message.get_body(preferencelist=("plain", "html"))
        print(
            json.dumps(
                {
                    "to": envelope.rcpt_tos,
                    "subject": str(message["subject"]),
                    "id": str(message["message-id"]),
                    "text": body.get_content() if body else "",
                }
            ),
            flush=True,
        )
        return "250 accepted"


async def main():
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    server = await loop.create_server(lambda: SMTP(Printer(), loop=loop, enable_SMTPUTF8=True), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await stop.wait()
    server.close()


asyncio.run(main())
