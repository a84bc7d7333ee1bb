"""URLs that lead inside, or that two parsers read differently. Data: one row each.

`{port}` is that of a listener on every local address, IPv4 and IPv6. Each row: the URL, and the
kind of failure. Names ending in `.test` are answered by the tests' own resolver, from `NAMES`.
"""

from __future__ import annotations

from typing import Final

from producer.outgoing.answers import FailureKind

_REFUSED: Final = FailureKind.ADDRESS_REFUSED
_MALFORMED: Final = FailureKind.ADDRESS_MALFORMED

#: What each name's servers say; the second answer is for whoever asks twice.
NAMES: Final[dict[str, tuple[tuple[str, ...], ...]]] = {
    "inside.test": (("127.0.0.1",),),
    "ten.test": (("10.0.0.5",),),
    "six.test": (("::1",),),
    "mapped.test": (("::ffff:127.0.0.1",),),
    "metadata.test": (("169.254.169.254",),),
    "public-first.test": (("93.184.215.14", "127.0.0.1"),),
    "public-last.test": (("127.0.0.1", "93.184.215.14"),),
    "public-six.test": (("2606:2800:21f:cb07:6820:80da:af6b:8b2c", "::1"),),
    "zone.test": (("fe80::1%eth0",),),
    "nat64.test": (("64:ff9b::7f00:1",),),
    "no-address.test": (("localhost",),),
    "rebinding.test": (("127.0.0.1",), ("93.184.215.14",)),
}

#: Plain addresses inside, as a customer could write them.
INSIDE: Final = (
    "https://127.0.0.1:{port}/",
    "https://127.0.0.2:{port}/",
    "https://127.255.255.254:{port}/",
    "https://0.0.0.0:{port}/",
    "https://0.1.2.3:{port}/",
    "https://10.0.0.1:{port}/",
    "https://10.255.255.255/",
    "https://172.16.0.1:{port}/",
    "https://172.31.255.255/",
    "https://192.168.0.1:{port}/",
    "https://169.254.169.254/latest/meta-data/",
    "https://169.254.170.2/v2/credentials",
    "https://169.254.1.1:{port}/",
    "https://100.64.0.1:{port}/",
    "https://100.100.100.200/latest/meta-data/",
    "https://192.0.0.192/opc/v2/instance/",
    "https://168.63.129.16/machine?comp=goalstate",
    "https://192.0.2.1/",
    "https://198.18.0.1/",
    "https://198.51.100.7/",
    "https://203.0.113.9/",
    "https://192.88.99.1/",
    "https://224.0.0.1:{port}/",
    "https://239.255.255.250:{port}/",
    "https://240.0.0.1/",
    "https://255.255.255.255:{port}/",
    "https://[::1]:{port}/",
    "https://[::]:{port}/",
    "https://[0:0:0:0:0:0:0:1]:{port}/",
    "https://[::ffff:127.0.0.1]:{port}/",
    "https://[::ffff:7f00:1]:{port}/",
    "https://[::ffff:169.254.169.254]/latest/meta-data/",
    "https://[::ffff:10.0.0.1]:{port}/",
    "https://[::127.0.0.1]:{port}/",
    "https://[::ffff:0:127.0.0.1]:{port}/",
    "https://[64:ff9b::127.0.0.1]:{port}/",
    "https://[64:ff9b::a9fe:a9fe]/latest/meta-data/",
    "https://[64:ff9b:1::10.0.0.1]:{port}/",
    "https://[2002:7f00:1::]:{port}/",
    "https://[2002:a9fe:a9fe::1]/",
    "https://[2001:0:7f00:1:0:0:80ff:fffe]:{port}/",
    "https://[2001:db8::1]/",
    "https://[3fff::1]/",
    "https://[2001:2::1]/",
    "https://[2606:4700::5efe:127.0.0.1]:{port}/",
    "https://[fc00::1]:{port}/",
    "https://[fd00:ec2::254]/latest/meta-data/",
    "https://[fd20:ce::254]/computeMetadata/v1/",
    "https://[fe80::1]:{port}/",
    "https://[fec0::1]:{port}/",
    "https://[ff02::1]:{port}/",
    "https://[100::1]/",
    "https://[5f00::1]/",
)

#: Other ways to write them, and what confuses parsers.
DISGUISED: Final = (
    "https://2130706433:{port}/",
    "https://017700000001:{port}/",
    "https://0x7f000001:{port}/",
    "https://0x7f.0.0.1:{port}/",
    "https://0177.0.0.1:{port}/",
    "https://127.0.0.01:{port}/",
    "https://127.1:{port}/",
    "https://127.0.1:{port}/",
    "https://0:{port}/",
    "https://0x:{port}/",
    "https://00000177.0x0.0.1:{port}/",
    "https://2852039166/latest/meta-data/",
    "https://0xA9FEA9FE/latest/meta-data/",
    "https://127.0.0.1.:{port}/",
    "https://localhost.:{port}/",
    "https://localhost:{port}/",
    "https://127.0.0.256:{port}/",
    "https://127.0.0.1.5:{port}/",
    "https://[fe80::1%25eth0]:{port}/",
    "https://[::1%lo]:{port}/",
    "https://[::1:{port}/",
    "https://[127.0.0.1]:{port}/",
    "https://[v1.fe]:{port}/",
    "https://::1:{port}/",
    "https://good.example@127.0.0.1:{port}/",
    "https://good.example:secret@127.0.0.1:{port}/",
    "https://127.0.0.1:{port}@good.example/",
    "https://127.0.0.1:{port}\\@good.example/",
    "https://good.example\\@127.0.0.1:{port}/",
    "https:\\\\127.0.0.1:{port}/",
    "https://127.0.0.1:{port} .good.example/",
    " https://127.0.0.1:{port}/",
    "https://127.0.0.1:{port}/\r\nHost: good.example",
    "https://127.0.0.1:{port}/\x00",
    "https://127.0.0.1%2f.good.example:{port}/",
    "https://127%2e0.0.1:{port}/",
    "https://good.example:{port}:443/",
    "https://127.0.0.1:+{port}/",
    "https://127.0.0.1:0/",
    "https://127.0.0.1:65536/",
    "https://127.0.0.1:/",
    "https:/127.0.0.1:{port}/",
    "https:127.0.0.1:{port}/",
    "https:///127.0.0.1:{port}/",
    "//127.0.0.1:{port}/",
    "127.0.0.1:{port}/",
    "http://127.0.0.1:{port}/",
    "HTTP://127.0.0.1:{port}/",
    "file:///etc/passwd",
    "gopher://127.0.0.1:{port}/_x",
    "ftp://127.0.0.1:{port}/",
    "unix:///var/run/docker.sock",
    "javascript:alert(1)",
    "https://a\u200b.example:{port}/",
    "https://under score.example/",
    "https://xn--a.example:{port}/",
    "https://-a.example:{port}/",
    "https://a..example:{port}/",
    "https://",
    "",
)

#: Disguises that are understood, and then judged by where they lead.
UNDERSTOOD: Final = (
    "https://\uff11\uff12\uff17.\uff10.\uff10.\uff11:{port}/",
    "https://127\u30020\u30020\u30021:{port}/",
    "https://\u2460\u2461\u2466.\u24ea.\u24ea.\u2460:{port}/",
    "HTTPS://127.0.0.1:{port}/",
    "https://127.0.0.1:{port}#@good.example/",
    "https://127.0.0.1:{port}?@good.example/",
    "https://127.0.0.1:22/",
    "https://good.test:25/",
    "https://good.test:6667/",
)

ROWS: Final[tuple[tuple[str, FailureKind], ...]] = (
    *((url, _REFUSED) for url in INSIDE),
    *((url, _MALFORMED) for url in DISGUISED),
    *((url, _REFUSED) for url in UNDERSTOOD),
    *(
        (
            f"https://{name}:{{port}}/",
            FailureKind.NAME_UNKNOWN if name == "no-address.test" else _REFUSED,
        )
        for name in NAMES
    ),
)
