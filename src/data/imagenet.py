"""The 1,000 classes of ImageNet-1k (ILSVRC 2012) in the order of the authors' heads: imagenet.tsv.

A class is a synset of WordNet. Its id is the name of its folder, and heads count the ids in their order. Its name is
the first of WordNet's words for it. Crane and maillot are the names of two classes each, so that a label has both:
"n02012849 crane" (the bird).
"""

from pathlib import Path

_FILE = Path(__file__).with_name("imagenet.tsv")
NUM_CLASSES = 1000


def imagenet_labels() -> list[str]:
    """'n01440764 tench' and so on, in the order of the logits."""
    return [line.replace("\t", " ", 1) for line in _FILE.read_text(encoding="utf-8").splitlines()[1:]]
