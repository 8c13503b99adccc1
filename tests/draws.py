"""A stand-in for a random generator, for tests that want to know what follows from certain draws."""


class Draws:
    """Gives what it was told, one after the other, and checks the range of integers."""

    def __init__(self, *values):
        self.values = list(values)

    def random(self):
        return self.values.pop(0)

    def integers(self, end):
        value = self.values.pop(0)
        assert 0 <= value < end
        return value
