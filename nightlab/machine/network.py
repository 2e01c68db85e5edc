"""Proxies and certificates, as the environment names them.

Nightlab talks to servers of its own on loopback, where a proxy has no business. Every library that
it talks through (httpx, requests, git) reads these variables, and each fails in its own words where
one of them is wrong: so they are tried once, before anything is started.
"""

import os
import re
import ssl
from collections.abc import Iterator, Mapping, MutableMapping
from pathlib import Path

from nightlab.errors import UsageError

LOOPBACK = ("localhost", "127.0.0.1", "::1")
SPELT_OTHERWISE = ("[::1]", "::1/128")
"""Loopback in words that others know and httpx fails on."""
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
EXCEPTIONS = ("NO_PROXY", "no_proxy")
EVERYWHERE = "*"
CERTIFICATE_FILES = (
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "PREFECT_API_SSL_CERT_FILE",
    "MLFLOW_TRACKING_SERVER_CERT_PATH",
)
CERTIFICATE_FOLDERS = "SSL_CERT_DIR"
HASHED = re.compile(r"[0-9a-f]{8}\.\d+")
PROXY_EXAMPLE = "http://HOST:PORT"
PROXY_KINDS = ("http", "https", "socks5", "socks5h")
PORTS = 65_536


def keep_loopback_direct(environment: MutableMapping[str, str]) -> None:
    """Have this process and its children reach loopback past any proxy."""
    named = [entry for name in EXCEPTIONS for entry in _entries(environment, name)]
    # A star means all hosts only where it stands alone, to urllib and curl.
    hosts = [EVERYWHERE] if set(named) == {EVERYWHERE} else dict.fromkeys((*named, *LOOPBACK))
    # Both, since libraries differ in which of the two they believe.
    environment.update(dict.fromkeys(EXCEPTIONS, ",".join(hosts)))


def prepare_network(environment: MutableMapping[str, str]) -> None:
    """Keep loopback direct, and refuse proxies and certificates that no library could use.

    Raises:
        UsageError: a variable is wrong; the sentence names the first.
    """
    keep_loopback_direct(environment)
    problem = next(network_problems(environment), None)
    if problem is not None:
        raise UsageError(problem)


def network_problems(environment: Mapping[str, str]) -> Iterator[str]:
    """Say of each variable that is wrong what it needs and what mends it."""
    for name in CERTIFICATE_FILES:
        value = environment.get(name)
        # requests takes folders too.
        if value and not (name != "SSL_CERT_FILE" and Path(value).is_dir()):
            yield from _certificate_problem(name, value)
    yield from _folder_problem(environment)
    for name in proxies_in_use(environment):
        yield from _proxy_problem(name, environment[name])
    yield from _exceptions_problem(environment)


def proxies_in_use(environment: Mapping[str, str]) -> list[str]:
    """The names of the variables that set a proxy."""
    names = [name for upper in PROXIES for name in (upper, upper.lower())]
    return [name for name in names if environment.get(name)]


def speaks_http(error: Exception) -> bool:
    """Whether a call failed because it was made in https to a server that has http only."""
    return "SSL: WRONG_VERSION_NUMBER" in str(error)


def _certificate_problem(name: str, value: str) -> Iterator[str]:
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=value)
    except ssl.SSLError:
        found = "that is no file of certificates (PEM)"
    except (OSError, ValueError) as error:
        found = f"it cannot be read ({getattr(error, 'strerror', None) or error})"
    else:
        return
    yield (
        f"{name} names {value!r} for certificates, and {found}: correct it, or `unset {name}` to "
        "take those that came with Python's packages."
    )


def _folder_problem(environment: Mapping[str, str]) -> Iterator[str]:
    """Look into the folders of certificates, which OpenSSL asks for by a hash of the subject."""
    folders = list(filter(None, environment.get(CERTIFICATE_FOLDERS, "").split(os.pathsep)))
    missing = [folder for folder in folders if not Path(folder).is_dir()]
    found = f"there is no folder {missing[0]!r}" if missing else ""
    if not missing and folders and not environment.get("SSL_CERT_FILE"):
        names = [path.name for folder in folders for path in Path(folder).iterdir()]
        found = "" if any(map(HASHED.fullmatch, names)) else "it holds none by OpenSSL's names"
    if found:
        yield (
            f"{CERTIFICATE_FOLDERS} names folders of certificates, and {found}: correct it "
            f"(`openssl rehash`), or `unset {CERTIFICATE_FOLDERS}`."
        )


def _proxy_problem(name: str, value: str) -> Iterator[str]:
    """Try a proxy's address with the library that would use it.

    The address is not repeated: it may hold a password.
    """
    import httpx

    address = value if "://" in value else f"http://{value}"
    kind = address.partition("://")[0].lower()
    try:
        proxy = httpx.Proxy(address).url
        httpx.HTTPTransport(verify=False, proxy=address).close()
    except ImportError:
        found = f"is of the kind {kind}, whose package is not installed (`make setup`)"
    except (ValueError, httpx.InvalidURL):
        found = "is no address" if kind in PROXY_KINDS else f"is of the kind {kind!r}"
    else:
        port = 1 if proxy.port is None else proxy.port
        is_bare = proxy.path in ("", "/") and not any(each.isspace() for each in value)
        if proxy.host and is_bare and 0 < port < PORTS:
            return
        found = "is no address"
    yield (
        f"The proxy that {name} names cannot be used, since it {found}: set {name} to "
        f"{PROXY_EXAMPLE}, or `unset {name}`."
    )


def _exceptions_problem(environment: Mapping[str, str]) -> Iterator[str]:
    """Name an entry of NO_PROXY on which httpx fails."""
    import httpx

    for name in EXCEPTIONS:
        for entry in _entries(environment, name):
            is_ipv6 = entry.count(":") > 1 and "[" not in entry
            host = f"[{entry}]" if is_ipv6 else f"*{entry}"
            try:
                httpx.URL(entry if "://" in entry else f"all://{host}")
            except (ValueError, httpx.InvalidURL):
                yield (
                    f"{name} has the entry {entry!r}, which httpx takes for no host: write it as a "
                    "name or an address without a range, or remove it."
                )
                return


def _entries(environment: Mapping[str, str], name: str) -> list[str]:
    entries = [each.strip() for each in environment.get(name, "").split(",")]
    return [each for each in entries if each and each not in SPELT_OTHERWISE]
