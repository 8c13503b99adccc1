"""Bases of Cells that outer settings of precision leave alone, and of those that bring their own derivative."""

from mindspore import nn

TYPE_FLAGS = ("fp16", "bf16", "fp32")


class OwnTypes(nn.Cell):
    """A Cell that computes in the types of its inputs, whatever `to_float` says of it and outer cells."""

    def add_flags_recursive(self, **flags):
        """Sets flags as every Cell does, but no type (`to_float` of outer cells comes here)."""
        return super().add_flags_recursive(**{name: flags[name] for name in flags if name not in TYPE_FLAGS})


class CustomGradient(OwnTypes):
    """A Cell with a `bprop`.

    MindSpore would otherwise convert a parameter on its way in, and not convert its gradient back on its way out.
    """
