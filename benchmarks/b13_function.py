"""What B13 computes, in a module that imports nothing: that is all that a Pool has to import."""


def backwards(item: bytes) -> bytes:
    return item[::-1]
