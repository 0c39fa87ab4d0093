"""The egress proxy: the one way from a sandbox to a host by name (CONNECT, RFC 9110 section 9.3.6).

A process of its own beside the index, whose identities, database border and guards it
shares. It is not built on aiohttp's server: that parses a CONNECT, but hands its
connection to a handler only as a request and a response, with no supported way to take
over the bytes behind them, half-closes and back-pressure included. So it stands on
asyncio's streams, with h11 (which uvicorn brings along) as the strict parser of the one
request head there is.

A connection's way: head → who asks → is exactly this host and port allowed, asked of the
database → the name's addresses, looked up once and all public → written down → connected
to the address that was judged → the TLS hello names the same host → bytes both ways. Every
two seconds all open tunnels are asked about again.

What remains possible inside an allowed TLS connection, because nobody but its ends can see
it: another site of the same server by the Host header (a CDN's, say), a hidden second name
in an encrypted hello (ECH), and anything at all over what the allowed host passes on. The
name of a connection that is not TLS is checked by its address alone, and TLS that begins
later in a connection (STARTTLS) is not looked at.
"""
