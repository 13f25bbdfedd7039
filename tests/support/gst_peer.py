"""A GStreamer SRTP endpoint, run by the system's Python (python3-gi): `srtpdec` or `srtpenc` behind UDP sockets.

Not imported by the tests. It speaks JSON lines. The first line on stdin says what to be:

    {"role": "receive"}
    {"role": "send", KEYS, "rtp_to": [host, port], "rtcp_to": [host, port]}
    {"role": "dtls", "client": bool}

where KEYS stands for "cipher", "auth", "rtcp_cipher", "rtcp_auth", "key": hex of key and salt, "mki": hex or null.
A receiver answers {"rtp_port", "rtcp_port"}, takes a line {KEYS}, answers {"keyed": true}, and then writes
{"kind": "rtp" or "rtcp", "packet": hex} for each packet it has decrypted. A sender answers {"ready": true} and takes
such lines on stdin. A DTLS-SRTP end (`dtlssrtpdec` and `dtlssrtpenc`, RTP and RTCP on one port) answers {"port",
"pem": its certificate}, takes {"to": [host, port]}, and then does both. End of stdin ends it.
"""

import json
import sys
import threading

import gi

gi.require_version("Gst", "1.0")
from gi.repository import GLib, Gst  # noqa: E402

KINDS = ("rtp", "rtcp")


def say(**message):
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def buffer_of(hex_text):
    return Gst.Buffer.new_wrapped(bytes.fromhex(hex_text))


def key_caps(order):
    """The caps by which srtpdec learns a key (element's documentation, signal request-key)."""
    text = (
        f"application/x-srtp, srtp-key=(buffer){order['key']}, "
        f"srtp-cipher=(string){order['cipher']}, srtp-auth=(string){order['auth']}, "
        f"srtcp-cipher=(string){order['rtcp_cipher']}, srtcp-auth=(string){order['rtcp_auth']}"
    )
    if order["mki"] is not None:
        text += f", mki=(buffer){order['mki']}"
    return Gst.Caps.from_string(text)


def receive(_order):
    pipeline = Gst.parse_launch(
        "srtpdec name=dec "
        "udpsrc name=rtp address=127.0.0.1 port=0 caps=application/x-srtp ! dec.rtp_sink "
        "udpsrc name=rtcp address=127.0.0.1 port=0 caps=application/x-srtcp ! dec.rtcp_sink "
        "dec.rtp_src ! fakesink name=rtp_out signal-handoffs=true sync=false async=false "
        "dec.rtcp_src ! fakesink name=rtcp_out signal-handoffs=true sync=false async=false"
    )
    keys = {}
    pipeline.get_by_name("dec").connect("request-key", lambda _element, _ssrc: key_caps(keys))

    def take_keys(line):
        keys.update(json.loads(line))
        say(keyed=True)

    def deliver(_element, buffer, _pad, kind):
        say(kind=kind, packet=buffer.extract_dup(0, buffer.get_size()).hex())

    for kind in KINDS:
        pipeline.get_by_name(f"{kind}_out").connect("handoff", deliver, kind)
    play(pipeline)
    say(**{f"{kind}_port": pipeline.get_by_name(kind).get_property("port") for kind in KINDS})
    return pipeline, take_keys


def send(order):
    pipeline = Gst.parse_launch(
        "srtpenc name=enc "
        "appsrc name=rtp is-live=true format=time caps=application/x-rtp ! enc.rtp_sink_0 "
        "appsrc name=rtcp is-live=true format=time caps=application/x-rtcp ! enc.rtcp_sink_0 "
        "enc.rtp_src_0 ! udpsink name=rtp_out sync=false async=false "
        "enc.rtcp_src_0 ! udpsink name=rtcp_out sync=false async=false"
    )
    encoder = pipeline.get_by_name("enc")
    encoder.set_property("key", buffer_of(order["key"]))
    if order["mki"] is not None:
        encoder.set_property("mki", buffer_of(order["mki"]))
    for name in ("cipher", "auth"):
        Gst.util_set_object_arg(encoder, f"rtp-{name}", order[name])
        Gst.util_set_object_arg(encoder, f"rtcp-{name}", order[f"rtcp_{name}"])
    for kind in KINDS:
        sink = pipeline.get_by_name(f"{kind}_out")
        host, port = order[f"{kind}_to"]
        sink.set_property("host", host)
        sink.set_property("port", port)
    play(pipeline)
    say(ready=True)

    def push(line):
        item = json.loads(line)
        pipeline.get_by_name(item["kind"]).emit("push-buffer", buffer_of(item["packet"]))

    return pipeline, push


def dtls(order):
    pipeline = Gst.parse_launch(
        "udpsrc name=in address=127.0.0.1 port=0 ! dtlssrtpdec name=dec connection-id=one "
        "dec.rtp_src ! fakesink name=rtp_out signal-handoffs=true sync=false async=false "
        "dec.rtcp_src ! fakesink name=rtcp_out signal-handoffs=true sync=false async=false "
        "dtlssrtpenc name=enc connection-id=one "
        "appsrc name=rtp is-live=true format=time caps=application/x-rtp ! enc.rtp_sink_0 "
        "appsrc name=rtcp is-live=true format=time caps=application/x-rtcp ! enc.rtcp_sink_0 "
        "enc.src ! udpsink name=out sync=false async=false"
    )
    pipeline.get_by_name("enc").set_property("is-client", order["client"])
    source, sink = pipeline.get_by_name("in"), pipeline.get_by_name("out")

    def deliver(_element, buffer, _pad, kind):
        say(kind=kind, packet=buffer.extract_dup(0, buffer.get_size()).hex())

    for kind in KINDS:
        pipeline.get_by_name(f"{kind}_out").connect("handoff", deliver, kind)
    source.set_state(Gst.State.READY)  # binds
    source.set_state(Gst.State.PAUSED)
    sink.set_property("socket", source.get_property("used-socket"))
    say(port=source.get_property("port"), pem=pipeline.get_by_name("dec").get_property("pem"))
    host, port = json.loads(sys.stdin.readline())["to"]
    sink.set_property("host", host)
    sink.set_property("port", port)
    play(pipeline)

    def push(line):
        item = json.loads(line)
        pipeline.get_by_name(item["kind"]).emit("push-buffer", buffer_of(item["packet"]))

    return pipeline, push


def play(pipeline):
    pipeline.set_state(Gst.State.PLAYING)
    outcome, _state, _pending = pipeline.get_state(10 * Gst.SECOND)
    if outcome == Gst.StateChangeReturn.FAILURE:
        raise SystemExit("the pipeline does not start")


def main():
    Gst.init(None)
    order = json.loads(sys.stdin.readline())
    loop = GLib.MainLoop()
    pipeline, obey = {"receive": receive, "send": send, "dtls": dtls}[order["role"]](order)

    def failed(_bus, message):
        say(error=message.parse_error()[0].message)
        loop.quit()

    bus = pipeline.get_bus()
    bus.add_signal_watch()
    bus.connect("message::error", failed)

    def read_orders():
        for line in sys.stdin:
            obey(line)
        GLib.idle_add(loop.quit)

    threading.Thread(target=read_orders, daemon=True).start()
    loop.run()
    pipeline.set_state(Gst.State.NULL)


if __name__ == "__main__":
    main()
