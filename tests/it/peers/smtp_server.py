"""A real SMTP server for the tests: prints its port, then each message it accepts as one JSON line."""

import email
import email.policy
import json
import signal
import threading

from aiosmtpd.controller import Controller


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


stop = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stop.set())
controller = Controller(Printer(), hostname="127.0.0.1", port=0)
controller.start()
print(controller.server.sockets[0].getsockname()[1], flush=True)
stop.wait()
controller.stop()
