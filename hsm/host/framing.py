"""Frames of the host port: 2 bytes of length (big-endian, itself not counted), then the message."""

from typing import Final

MESSAGE_BYTES_MAX: Final = 32_768  # a command with its header; the length field could say 65,535

_LENGTH_BYTES: Final = 2


class FrameTooLongError(Exception):
    """The peer announced more than the bound: nothing after it can be trusted, so close.

    `messages` are those that came whole before it.
    """

    def __init__(self, messages: list[bytes]) -> None:
        super().__init__("a frame is longer than the bound")
        self.messages = messages


class HostFramer:
    """Cuts a byte stream into messages, however the stream was split."""

    __slots__ = ("_bytes_max", "_rest")

    def __init__(self, bytes_max: int = MESSAGE_BYTES_MAX) -> None:
        self._bytes_max = bytes_max
        self._rest = b""

    def receive(self, data: bytes) -> list[bytes]:
        """The whole messages that `data` completes; a rest is kept, never longer than one frame.

        >>> HostFramer().receive(b"\\0\\3abc\\0\\2d")
        [b'abc']
        """
        stream = self._rest + data if self._rest else data
        messages: list[bytes] = []
        position, length = 0, len(stream)
        while length - position >= _LENGTH_BYTES:
            start = position + _LENGTH_BYTES
            end = start + (stream[position] << 8 | stream[position + 1])
            if end - start > self._bytes_max:
                raise FrameTooLongError(messages)
            if end > length:
                break
            messages.append(stream[start:end])
            position = end
        self._rest = stream[position:]
        return messages


def frame(message: bytes) -> bytes:
    """The message with its length before it."""
    return len(message).to_bytes(_LENGTH_BYTES, "big") + message
