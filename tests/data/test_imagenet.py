"""The labels of ImageNet-1k, against what every user of its heads knows."""

from src.data.imagenet import NUM_CLASSES, imagenet_labels
from src.data.labels import match_labels


def test_ids_and_names_in_the_order_of_the_logits():
    labels = imagenet_labels()
    ids = [label.split(" ")[0] for label in labels]
    assert len(set(ids)) == NUM_CLASSES and ids == sorted(ids)
    assert all(len(label) > 10 and label == label.strip() and "\t" not in label for label in labels)
    known = {0: "n01440764 tench", 207: "n02099601 golden retriever", 281: "n02123045 tabby", 999: "n15075141 toilet"}
    assert all(labels[number].startswith(label) for number, label in known.items())


def test_folders_named_by_id_find_their_outputs():
    labels = imagenet_labels()
    match = match_labels(labels, [label.split(" ")[0] for label in labels[::10]], "a.ckpt")
    assert match.outputs == list(range(0, 1000, 10)) and match.classes == labels
