"""GStreamer's MIKEY parser and builder (libgstsdp), in a program of its own under an alarm: it can loop for ever on
payloads that it does not know.

    gst_mikey.py parse HEX    -> JSON: version, type, V, PRF, CSB ID, map type, payload types, and the message it builds
                                 again from what it has read, in hexadecimal
    gst_mikey.py build        -> JSON: a message that GStreamer builds

Not imported by the tests, except for its path.
"""

import ctypes
import ctypes.util
import json
import signal
import sys

signal.alarm(10)
gst = ctypes.CDLL("libgstreamer-1.0.so.0")
sdp = ctypes.CDLL("libgstsdp-1.0.so.0")
glib = ctypes.CDLL("libglib-2.0.so.0")


class MiniObject(ctypes.Structure):
    """GstMiniObject of the ABI 1.0, 64 bits."""

    _fields_ = [
        ("type", ctypes.c_size_t),
        ("refcount", ctypes.c_int),
        ("lockstate", ctypes.c_int),
        ("flags", ctypes.c_uint),
        ("copy", ctypes.c_void_p),
        ("dispose", ctypes.c_void_p),
        ("free", ctypes.c_void_p),
        ("priv_uint", ctypes.c_uint),
        ("priv_pointer", ctypes.c_void_p),
    ]


class Message(ctypes.Structure):
    _fields_ = [
        ("mini", MiniObject),
        ("version", ctypes.c_uint8),
        ("type", ctypes.c_int),
        ("v", ctypes.c_int),
        ("prf", ctypes.c_int),
        ("csb_id", ctypes.c_uint32),
        ("map_type", ctypes.c_int),
        ("map_info", ctypes.c_void_p),
        ("payloads", ctypes.c_void_p),
    ]


class Payload(ctypes.Structure):
    _fields_ = [("mini", MiniObject), ("type", ctypes.c_int), ("length", ctypes.c_uint)]


sdp.gst_mikey_message_new_from_data.restype = ctypes.POINTER(Message)
sdp.gst_mikey_message_new_from_data.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_void_p, ctypes.c_void_p]
sdp.gst_mikey_message_new.restype = ctypes.POINTER(Message)
sdp.gst_mikey_message_to_bytes.restype = ctypes.c_void_p
sdp.gst_mikey_message_to_bytes.argtypes = [ctypes.POINTER(Message), ctypes.c_void_p, ctypes.c_void_p]
sdp.gst_mikey_message_get_n_payloads.argtypes = [ctypes.POINTER(Message)]
sdp.gst_mikey_message_get_payload.restype = ctypes.POINTER(Payload)
sdp.gst_mikey_message_get_payload.argtypes = [ctypes.POINTER(Message), ctypes.c_uint]
sdp.gst_mikey_message_set_info.argtypes = [ctypes.POINTER(Message)] + [ctypes.c_uint] * 6
sdp.gst_mikey_message_add_cs_srtp.argtypes = [ctypes.POINTER(Message), ctypes.c_uint8, ctypes.c_uint32, ctypes.c_uint32]
sdp.gst_mikey_message_add_t_now_ntp_utc.argtypes = [ctypes.POINTER(Message)]
sdp.gst_mikey_message_add_rand_len.argtypes = [ctypes.POINTER(Message), ctypes.c_uint8]
glib.g_bytes_get_data.restype = ctypes.POINTER(ctypes.c_char)
glib.g_bytes_get_data.argtypes = [ctypes.c_void_p, ctypes.POINTER(ctypes.c_size_t)]


def octets(message):
    size = ctypes.c_size_t()
    built = sdp.gst_mikey_message_to_bytes(message, None, None)
    return glib.g_bytes_get_data(built, ctypes.byref(size))[: size.value]


def parse(data):
    message = sdp.gst_mikey_message_new_from_data(data, len(data), None, None)
    if not message:
        return {"refused": True}
    found = message.contents
    count = sdp.gst_mikey_message_get_n_payloads(message)
    return {
        "version": found.version,
        "type": found.type,
        "v": found.v,
        "prf": found.prf,
        "csb_id": found.csb_id,
        "map_type": found.map_type,
        "payloads": [sdp.gst_mikey_message_get_payload(message, place).contents.type for place in range(count)],
        "again": octets(message).hex(),
    }


def build():
    message = sdp.gst_mikey_message_new()
    sdp.gst_mikey_message_set_info(message, 1, 0, 0, 0, 0x01020304, 0)
    sdp.gst_mikey_message_add_cs_srtp(message, 1, 0xCAFEBABE, 7)
    sdp.gst_mikey_message_add_t_now_ntp_utc(message)
    sdp.gst_mikey_message_add_rand_len(message, 16)
    return {"message": octets(message).hex()}


if __name__ == "__main__":
    gst.gst_init(None, None)
    sys.stdout.write(json.dumps(parse(bytes.fromhex(sys.argv[2])) if sys.argv[1] == "parse" else build()))
