"""Base of Cells that bring their own derivative."""

from mindspore import nn

TYPE_FLAGS = ("fp16", "bf16", "fp32")


class CustomGradient(nn.Cell):
    """A Cell with a `bprop`. It computes in the types of its inputs, whatever `to_float` says of it and outer cells.

    Otherwise MindSpore would convert a parameter on its way in, and not convert its gradient back on its way out.
    """

    def add_flags_recursive(self, **flags):
        """Sets flags as every Cell does, but no type (`to_float` of outer cells comes here)."""
        return super().add_flags_recursive(**{name: flags[name] for name in flags if name not in TYPE_FLAGS})
