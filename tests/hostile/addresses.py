"""Addresses and URLs that are never fetched, however they are written."""

from common.images.url_policy import UrlPolicy

OPEN = UrlPolicy()

BLOCKED_ADDRESSES = """
    0.0.0.0 0.1.2.3 10.0.0.1 10.255.255.255 100.64.0.1 100.127.255.255 127.0.0.1 127.1.2.3
    168.63.129.16 169.254.0.1 169.254.169.254 169.254.170.2 172.16.0.1 172.31.255.255 192.0.0.1
    192.0.0.192 192.0.2.1 192.31.196.1 192.52.193.1 192.88.99.1 192.168.0.1 192.168.255.255
    192.175.48.1 198.18.0.1 198.19.255.255 198.51.100.1 199.36.153.4 199.36.153.8 203.0.113.1
    224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255 :: ::1 ::ffff:127.0.0.1
    ::ffff:169.254.169.254 ::ffff:8.8.8.8 ::127.0.0.1 ::ffff:0:127.0.0.1 64:ff9b::7f00:1
    64:ff9b::8.8.8.8 64:ff9b:1::1 100::1 2001::1 2001:0:7f00:1::1 2001:10::1 2001:20::1
    2001:1ff::1 2001:db8::1 2002:7f00:1::1 2002:a9fe:a9fe:: 2620:4f:8000::1 3fff::1 3fff:fff::1
    fc00::1 fd00::1 fd20:ce::254 fd00:ec2::254 fe80::1 fe80::1%eth0 fec0::1 ff02::1 ff0e::1
    5f00::1 4000::1 2606:4700::1111%eth0 2606:4700::5efe:7f00:1 2606:4700::200:5efe:a9fe:a9fe
    2a00:1450:4001:8:300:5efe:10.0.0.1 2606:4700::100:5efe:192.168.1.1 2606:4700::127.0.0.1
    2a00:1450::10.1.2.3 2600:1f18::169.254.169.254 2606:4700:7f00:1::
    2606:4700:0a0a:fea9:fe:a900:: 2606:4700:a:a9fe:a9:fe00:: 2606:4700:a:7f:0:100::
    2606:4700:a:1:a9:fea9:fe00:0
""".split()

BLOCKED_URLS = """
    http://127.0.0.1/ http://127.1/ http://127.0.1/ http://2130706433/ http://0x7f000001/
    http://0x7f.1/ http://0177.0.0.1/ http://017700000001/ http://0/ http://0.0.0.0/
    http://00000000000000/ http://127.0.0.1./ http://[::]/ http://[::1]/
    http://[::ffff:127.0.0.1]/ http://[::ffff:7f00:1]/ http://[0:0:0:0:0:ffff:7f00:1]/
    http://[64:ff9b::7f00:1]/ http://[fd20:ce::254]/ http://[fe80::1]/
    http://169.254.169.254/latest/meta-data/ http://0xa9fea9fe/ http://2852039166/
    http://169.254.43518/ http://localhost/ http://localhost./ http://LOCALHOST/
    http://a.localhost/ http://metadata/ http://metadata.google.internal/
    http://METADATA.GOOGLE.INTERNAL./ http://instance-data.ec2.internal/ http://printer.local/
    http://router.lan/ http://nas.home.arpa/ http://a.onion/ http://kubernetes.default.svc/
    http://kubernetes.default.svc.cluster.local/ http://db.localdomain/ http://intranet/
    http://example.com:22/ http://example.com:8080/ https://example.com:80/
    http://example.com:443/ http://example.com:25/ http://user@example.com/
    http://user:password@example.com/ http://example.com@127.0.0.1/ http://:@example.com/
    http://1.2.3.4.5.6/ http://999/ http://256.256.256.256/ http://0x/
""".split()

INVALID_URLS = [
    "",
    "example.com/a.png",
    "//example.com/a.png",
    "ftp://example.com/a.png",
    "file:///etc/passwd",
    "gopher://example.com/",
    "javascript:alert(1)",
    "dict://127.0.0.1:11211/",
    "http://",
    "http:///a.png",
    "http://exa mple.com/",
    "http://example.com/\r\nX: y",
    "http://example.com\\@127.0.0.1/",
    "http://example.com/\t",
    "http://example.com/\x00",
    "http://example.com/\u2028",
    "http://example.com:99999/",
    "http://example.com:port/",
    "http://[::1/",
    "http://example.com/" + "a" * 8192,
    "http://" + "a" * 64 + ".example.com/",
    "http://" + "a." * 127 + "com/",
    "http://example..com/",
    " http://example.com/",
]
