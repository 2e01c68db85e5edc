"""The forms in which a key is met again: in logs, in what endpoints answer, in what stores keep."""

import base64
import html
import json
import re
import textwrap
import urllib.parse
from collections.abc import Callable


def _percent(key: str, digits: str = "{:02X}") -> str:
    return "".join("%" + digits.format(byte) for byte in key.encode())


FORMS: dict[str, Callable[[str], str]] = {
    "as it is": lambda key: key,
    "with the end of a line": lambda key: f"{key}\r\n",
    "quoted for a path": lambda key: urllib.parse.quote(key + "\u00a0"),
    "quoted for a query": lambda key: urllib.parse.quote_plus(f"{key} "),
    "quoted whole, lower case": lambda key: _percent(key, "{:02x}"),
    "quoted twice": lambda key: urllib.parse.quote(_percent(key)),
    "base64": lambda key: base64.b64encode(key.encode()).decode(),
    "base64 for addresses": lambda key: base64.urlsafe_b64encode(key.encode()).decode() + "\n",
    "base64 without its end": lambda key: base64.b64encode(key.encode()).decode().rstrip("=") + " ",
    "base64 of user and key": lambda key: base64.b64encode(f"user:{key}".encode()).decode(),
    "base64 of user, key and more": lambda key: base64.b64encode(f"me:{key}:x".encode()).decode(),
    "base64 in lines": lambda key: "\n".join(
        textwrap.wrap(base64.b64encode(f"-{key}".encode()).decode(), 10)
    ),
    "base64 in JSON": lambda key: json.dumps(base64.encodebytes(key.encode()).decode()),
    "JSON": lambda key: json.dumps(key),
    "JSON in JSON": lambda key: json.dumps(json.dumps({"key": key})),
    "JSON, all escaped": lambda key: re.sub(
        "....", r"\\u\g<0>", key.encode("utf-16-be", "surrogatepass").hex()
    ),
    "Python": lambda key: repr(key),
    "Python, ASCII": lambda key: ascii(f"{key}é"),
    "Python, bytes": lambda key: repr(key.encode()),
    "Python, all escaped": lambda key: "".join(f"\\x{byte:02x}" for byte in key.encode()),
    "octal": lambda key: "".join(f"\\{byte:03o}" for byte in key.encode()),
    "hex": lambda key: key.encode().hex(),
    "hex, upper case": lambda key: key.encode().hex().upper(),
    "hex, in groups": lambda key: key.encode().hex(" ", 2),
    "HTML": lambda key: f"<b>{html.escape(key)}</b>",
    "HTML, all escaped": lambda key: "".join(f"&#{ord(each)};" for each in key),
    "HTML, all escaped in hex": lambda key: "".join(f"&#x{ord(each):X};" for each in key),
    "in lines": lambda key: "\n   ".join(textwrap.wrap(key, 7)),
    "in lines, in JSON": lambda key: json.dumps("\r\n".join(textwrap.wrap(key, 7))),
    "in colours": lambda key: "\x1b[1;31m".join(textwrap.wrap(key, 5)) + "\x1b[0m",
    "in colours, in JSON": lambda key: json.dumps("\x1b[32m\n\x1b[0m".join(textwrap.wrap(key, 5))),
    "in colours, in Python": lambda key: repr("\x1b[m".join(textwrap.wrap(key, 3))),
    "in a frame": lambda key: "\n".join(f"\u2502 {line} \u2502" for line in textwrap.wrap(key, 6)),
    "quoted in lines": lambda key: "\n    ".join(map(repr, textwrap.wrap(key, 6))),
    "base64 in colours": lambda key: "\x1b[31m".join(
        textwrap.wrap(base64.b64encode(key.encode()).decode(), 7)
    ),
    "hex in colours": lambda key: "\x1b[31m".join(textwrap.wrap(key.encode().hex(), 7)),
    "upper case": lambda key: key.upper(),
    "lower case": lambda key: key.lower(),
}
