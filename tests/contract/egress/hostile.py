"""Addresses that must never be connected to, each with the reason for which egress refuses it."""

from typing import Final

NOT_HTTPS: Final = "must begin with https://"
PORT: Final = "must use port 443"
NOT_PUBLIC: Final = "is not public"
NO_PUBLIC_NAME: Final = "must name a host of the public internet"
USER: Final = "must not hold a user"
FRAGMENT: Final = "must not hold a fragment"
CHARACTERS: Final = "has characters that do not belong there"
TOO_LONG: Final = "is too long"
UNREADABLE: Final = "cannot be read"

PATH: Final = "/openai/deployments/d/chat/completions?api-version=2024-08-01-preview"

# {port} is where somebody listens on this machine
BY_TEXT: Final = (
    # loopback, in all its spellings
    ("https://127.0.0.1", NOT_PUBLIC),
    ("https://127.0.0.1:{port}", PORT),
    ("http://127.0.0.1:{port}", NOT_HTTPS),
    ("http://localhost:{port}", NOT_HTTPS),
    ("https://127.255.255.254", NOT_PUBLIC),
    ("https://127.1", NO_PUBLIC_NAME),
    ("https://127.0.1", NO_PUBLIC_NAME),
    ("https://2130706433", NO_PUBLIC_NAME),
    ("https://0x7f000001", NO_PUBLIC_NAME),
    ("https://0x7f.0.0.1", NO_PUBLIC_NAME),
    ("https://0177.0.0.1", NO_PUBLIC_NAME),
    ("https://017700000001", NO_PUBLIC_NAME),
    ("https://127.0.0.1.", NO_PUBLIC_NAME),
    ("https://0", NO_PUBLIC_NAME),
    ("https://0.0.0.0", NOT_PUBLIC),
    ("https://[::1]", NOT_PUBLIC),
    ("https://[0:0:0:0:0:0:0:1]", NOT_PUBLIC),
    ("https://[::]", NOT_PUBLIC),
    ("https://[::ffff:127.0.0.1]", NOT_PUBLIC),
    ("https://[::ffff:7f00:1]", NOT_PUBLIC),
    ("https://[::127.0.0.1]", NOT_PUBLIC),
    # IPv4 inside IPv6: 6to4, NAT64 and its local prefix, Teredo
    ("https://[2002:7f00:1::]", NOT_PUBLIC),
    ("https://[2002:a9fe:a9fe::1]", NOT_PUBLIC),
    ("https://[64:ff9b::127.0.0.1]", NOT_PUBLIC),
    ("https://[64:ff9b::a9fe:a9fe]", NOT_PUBLIC),
    ("https://[64:ff9b:1::7f00:1]", NOT_PUBLIC),
    ("https://[2001:0:4136:e378:8000:63bf:3fff:fdd2]", NOT_PUBLIC),
    # metadata of AWS, GCP, Azure, Alibaba, Oracle
    ("https://169.254.169.254", NOT_PUBLIC),
    ("http://169.254.169.254", NOT_HTTPS),
    ("https://169.254.170.2", NOT_PUBLIC),
    ("https://[fd00:ec2::254]", NOT_PUBLIC),
    ("https://[::ffff:169.254.169.254]", NOT_PUBLIC),
    ("https://0xa9fea9fe", NO_PUBLIC_NAME),
    ("https://2852039166", NO_PUBLIC_NAME),
    ("https://metadata.google.internal", NO_PUBLIC_NAME),
    ("https://metadata", NO_PUBLIC_NAME),
    ("https://168.63.129.16", NOT_PUBLIC),
    ("https://100.100.100.200", NOT_PUBLIC),
    ("https://192.0.0.192", NOT_PUBLIC),
    # private, shared, link-local, multicast, reserved, documentation
    ("https://10.0.0.1", NOT_PUBLIC),
    ("https://172.16.0.1", NOT_PUBLIC),
    ("https://172.31.255.255", NOT_PUBLIC),
    ("https://192.168.0.1", NOT_PUBLIC),
    ("https://100.64.0.1", NOT_PUBLIC),
    ("https://198.18.0.1", NOT_PUBLIC),
    ("https://192.0.2.1", NOT_PUBLIC),
    ("https://224.0.0.1", NOT_PUBLIC),
    ("https://240.0.0.1", NOT_PUBLIC),
    ("https://255.255.255.255", NOT_PUBLIC),
    ("https://[fc00::1]", NOT_PUBLIC),
    ("https://[fd12:3456::1]", NOT_PUBLIC),
    ("https://[fe80::1]", NOT_PUBLIC),
    ("https://[fe80::1%25lo]", NOT_PUBLIC),
    ("https://[ff02::1]", NOT_PUBLIC),
    ("https://[2001:db8::1]", NOT_PUBLIC),
    # names of the inside
    ("https://localhost", NO_PUBLIC_NAME),
    ("https://localhost.", NO_PUBLIC_NAME),
    ("https://localhost.localdomain", NO_PUBLIC_NAME),
    ("https://a.localhost", NO_PUBLIC_NAME),
    ("https://vault", NO_PUBLIC_NAME),
    ("https://vault.internal", NO_PUBLIC_NAME),
    ("https://printer.local", NO_PUBLIC_NAME),
    ("https://router.home.arpa", NO_PUBLIC_NAME),
    ("https://x.openai.azure.com.", NO_PUBLIC_NAME),
    ("https://.openai.azure.com", NO_PUBLIC_NAME),
    ("https://a..openai.azure.com", NO_PUBLIC_NAME),
    # what readers of addresses disagree about
    ("https://x.openai.azure.com@127.0.0.1:{port}", USER),
    ("https://user:password@x.openai.azure.com", USER),
    ("https://@127.0.0.1", USER),
    ("https://127.0.0.1#@x.openai.azure.com", USER),
    ("https://x.openai.azure.com#", FRAGMENT),
    ("https://127.0.0.1\\@x.openai.azure.com", CHARACTERS),
    ("https:\\\\127.0.0.1", CHARACTERS),
    ("https://x.openai.azure.com\r\nHost: 127.0.0.1\r\n\r\n", CHARACTERS),
    ("https://x.openai.azure.com\t.evil.example", CHARACTERS),
    ("https://127.0.0.1\n.openai.azure.com", CHARACTERS),
    ("https://127.0.0.1 .openai.azure.com", CHARACTERS),
    ("https://x.openai.azure.com\x00.evil.example", CHARACTERS),
    ("https://x.\N{CYRILLIC SMALL LETTER O}penai.azure.com", CHARACTERS),
    ("https://\N{CIRCLED DIGIT ONE}27.0.0.1", CHARACTERS),
    (
        "https://127\N{IDEOGRAPHIC FULL STOP}0\N{IDEOGRAPHIC FULL STOP}0\N{FULLWIDTH FULL STOP}1",
        CHARACTERS,
    ),
    ("https://x.openai.azure.com:22", PORT),
    ("https://x.openai.azure.com:{port}", PORT),
    ("https://x.openai.azure.com:99999", UNREADABLE),
    ("https://[::1", UNREADABLE),
    ("https://xn--penai-vve.openai.azure.com", UNREADABLE),
    ("https://xn--a.openai.azure.com", UNREADABLE),
    ("https://" + "a" * 64 + ".openai.azure.com", NO_PUBLIC_NAME),
    ("https://" + "a." * 1500 + "openai.azure.com", TOO_LONG),
    ("file:///etc", NOT_HTTPS),
    ("gopher://127.0.0.1:{port}", NOT_HTTPS),
)
"""Refused by what they say, before any name is looked up; a path is put after each."""

BY_NAME: Final = (
    ("127.0.0.1",),
    ("0.0.0.0",),  # noqa: S104 - where a name may lead, not where we listen
    ("10.1.2.3",),
    ("100.64.0.1",),
    ("169.254.169.254",),
    ("168.63.129.16",),
    ("::1",),
    ("::",),
    ("::ffff:127.0.0.1",),
    ("::ffff:169.254.169.254",),
    ("64:ff9b::7f00:1",),
    ("2002:7f00:1::",),
    ("fd00:ec2::254",),
    ("fe80::1%lo",),
    ("1.1.1.1", "127.0.0.1"),
    ("127.0.0.1", "1.1.1.1"),
    ("2606:4700:4700::1111", "1.1.1.1", "::1"),
)
"""Where a name of the public internet may lead: all the answers of one look-up."""

LYING_NAMES: Final = (
    "https://x.openai.azure.com",
    "https://xn--penai-d1e.openai.azure.com",
    "https://127.0.0.1.nip.example.com",
)
"""Public names by their text, a homograph among them; the resolver of the test says where they lead."""
