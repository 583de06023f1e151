"""The integrated circuit card: what answers APDUs. It never meets the kernel but as bytes."""
