"""What B13 computes, in a module without imports: a Pool has to import nothing else."""


def backwards(item: bytes) -> bytes:
    return item[::-1]
