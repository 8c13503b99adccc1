"""What decides a run: sections of keys, each with its type, default and meaning.

A field added to a dataclass below, with its line under Args, is a YAML key, an option and a line of the help.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, Literal, get_type_hints

from ..rule import BatchNormMode, ClassBalance, DataSource, DistillationForm, LossName, OnBadImage, Precision


@dataclass
class ModelConfig:
    """Which network. Keys equal the arguments of `create_model`.

    Args:
        name: variant, one of `list_models()`.
        num_classes: size of the head; the number of classes of the data when null.
        in_channels: channels of the input image.
        image_size: side in pixels or [height, width]; the variant's published size when null.
        drop_rate: dropout after position tables, in MLPs and after attention.
        attn_drop_rate: dropout on attention weights.
        drop_path_rate: stochastic depth of the last block; it rises linearly from 0.
        se: the authors' squeeze-and-excitation gate on TNT's and PyramidTNT's outer MLP.
        batch_norm: PyramidTNT's batch norms in training: 'train' with a device's own statistics, 'synchronized' with
            those of all devices, 'eval' with the running ones, 'frozen' like eval, without training gain and bias.
        structure: further arguments of the network's constructor, such as {depth: 4, outer_dim: 96}.
    """

    name: str = "tnt_s_patch16_224"
    num_classes: int | None = None
    in_channels: int = 3
    image_size: int | tuple[int, int] | None = None
    drop_rate: float = 0.0
    attn_drop_rate: float = 0.0
    drop_path_rate: float = 0.1
    se: bool = False
    batch_norm: BatchNormMode = "train"
    structure: dict[str, Any] = field(default_factory=dict)


@dataclass
class DataConfig:
    """Which images, and how they reach the network.

    On the command line `--data DIR` is short for `--data.root DIR`, with source 'folder' where digits are configured,
    and `--on_bad_image` for `--data.on_bad_image`.

    Args:
        source: 'digits' (embedded in scikit-learn), 'folder' (ImageNet layout), 'list' (train_list and val_list),
            'mindrecord' (a folder, packed by make_mindrecord.py), an official archive, unpacked: 'cifar10', 'cifar100',
            'oxford_pets' or 'flowers102', or 'coco' for detection.
        root: folder of the images, null for 'digits'; for 'folder' it holds train/ and val/, each with one sub-folder
            per class, or with val_split the class folders; for 'list' it is what files are relative to, the folder of
            each list when null; for an archive what that unpacks to.
        train_list: text file of a source 'list': an image file, a comma or tab, and its label on each line.
        val_list: the same of validation.
        classes: text file that chooses and orders the classes of folders or lists, one a line, or a class, a tab or
            comma, and its label; all of them, sorted by name, when null.
        val_split: share of each class that validates, where root holds the class folders themselves, or where there is
            no val_list; which images is a function of the seed. When null the data comes in two parts.
        crop_scale: area share of the random crop in training.
        crop_ratio: aspect ratio of the random crop in training.
        flip_prob: probability of a horizontal flip in training.
        rand_augment: RandAugment in timm's spelling, such as rand-m9-mstd0.5-inc1; none when null.
        three_augment: grey, solarized or blurred, one of them at random (DeiT III); instead of RandAugment.
        augmix: the image mixed with chains of distortions of itself (AugMix); instead of both.
        color_jitter: strength of random brightness, contrast and saturation, where RandAugment and AugMix are off; 0
            for none.
        erase_prob: probability that a rectangle is replaced by noise in training.
        mixup: parameter of the Beta distribution that mixup draws its share from; 0 for no mixup.
        cutmix: the same for cutmix.
        mix_prob: probability that a batch is mixed.
        mix_switch_prob: probability of cutmix where both are on.
        balance: how often an epoch has images of a class: 'none' as there are, 'sqrt' in proportion to the root of
            their number, 'full' as often as those of any other; drawn anew for each epoch, with replacement.
        repeats: copies of an image in an epoch, each augmented for itself (an epoch then has fewer different images).
        on_bad_image: 'error' stops at an image that cannot be read, 'skip' takes the next one and counts.
        crop_pct: centre crop's share of the resized short side in evaluation.
        workers: processes that read and transform images; with 0 the training process does, best for small images.
        prefetch_to_device: batches that are copied to the device ahead, while a step runs; when null 1 on Ascend and
            GPU, 0 on CPU.
        short_sides: detection: what the shorter side is resized to, one of them at random in training, the largest in
            evaluation.
        long_side: detection: what the longer side is resized to at most.
        train_annotations: file of a source 'coco' below root; that of COCO when null.
        train_images: its folder of images; that of COCO when null.
        val_annotations: the same of validation.
        val_images: the same of validation.
    """

    source: DataSource = "folder"
    root: str | None = None
    train_list: str | None = None
    val_list: str | None = None
    classes: str | None = None
    val_split: float | None = None
    crop_scale: tuple[float, float] = (0.08, 1.0)
    crop_ratio: tuple[float, float] = (0.75, 1.3333333333333333)
    flip_prob: float = 0.5
    rand_augment: str | None = None
    three_augment: bool = False
    augmix: bool = False
    color_jitter: float = 0.0
    erase_prob: float = 0.0
    mixup: float = 0.0
    cutmix: float = 0.0
    mix_prob: float = 1.0
    mix_switch_prob: float = 0.5
    balance: ClassBalance = "none"
    repeats: int = 1
    on_bad_image: OnBadImage = "error"
    crop_pct: float = 0.9
    workers: int = 2
    prefetch_to_device: int | None = None
    short_sides: list[int] = field(default_factory=lambda: [800])
    long_side: int = 1333
    train_annotations: str | None = None
    train_images: str | None = None
    val_annotations: str | None = None
    val_images: str | None = None


@dataclass
class OptimizerConfig:
    """How weights are updated. AdamW has bias correction; 1-D parameters, biases and the network's own list are not
    decayed by either.

    Args:
        name: adamw, or sgd with momentum.
        lr: learning rate after warm-up, for the total batch of all devices.
        lr_batch_size: total batch that lr is meant for: all learning rates are scaled by the actual one over it; not
            scaled when null.
        weight_decay: decoupled weight decay.
        beta1: decay of AdamW's first moment.
        beta2: decay of AdamW's second moment.
        eps: term of AdamW's denominator.
        momentum: share of the velocity that sgd keeps.
        clip_norm: largest global gradient norm; no clipping when null.
        shard_state: with several devices, each keeps AdamW's moments of a share of the parameters only.
        layer_decay: factor on the learning rate from each layer to the one below it; 1 for the same rate everywhere.
        backbone_lr_scale: factor on the learning rate of everything but the head.
    """

    name: Literal["adamw", "sgd"] = "adamw"
    lr: float = 1e-3
    lr_batch_size: int | None = None
    weight_decay: float = 0.05
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8
    momentum: float = 0.9
    clip_norm: float | None = None
    shard_state: bool = False
    layer_decay: float = 1.0
    backbone_lr_scale: float = 1.0


@dataclass
class ScheduleConfig:
    """Linear warm-up, then a cosine and cooldown, constant within an epoch; or steps.

    Args:
        decay: 'cosine', or 'step': linear warm-up over warmup_steps, then decay_factor at the end of each of
            decay_epochs.
        decay_epochs: epochs after which the rate falls.
        decay_factor: what it is multiplied by then.
        warmup_steps: of 'step'; it begins at a thousandth of the rate.
        epochs: epochs of warm-up and cosine together, or of everything.
        warmup_epochs: epochs of linear warm-up.
        warmup_lr: learning rate of the first warm-up epoch.
        min_lr: learning rate at the end of the cosine and during cooldown.
        cooldown_epochs: epochs at min_lr after the cosine.
    """

    decay: Literal["cosine", "step"] = "cosine"
    decay_epochs: list[int] = field(default_factory=list)
    decay_factor: float = 0.1
    warmup_steps: int = 0
    epochs: int = 300
    warmup_epochs: int = 5
    warmup_lr: float = 1e-6
    min_lr: float = 1e-5
    cooldown_epochs: int = 10


@dataclass
class TrainConfig:
    """The loop.

    Args:
        batch_size: images that a device takes at once. A step has batch_size * devices * accumulate images.
        accumulate: batches of a device whose gradients are averaged before the weights are updated.
        loss: 'cross_entropy'; 'bce', a sigmoid for each class as timm has it; or 'focal', with gamma 2.
        class_weights: factor on the loss of each class: 'none', 'full' in inverse proportion to its number of training
            images, 'sqrt' the root of that; an image's mean is 1.
        label_smoothing: share of the target spread over all classes.
        teacher: checkpoint of a network whose outputs are learned too (distillation), for the same labels or more.
        distillation: 'soft', its probabilities; or 'hard', its first class.
        distillation_weight: share of that in the loss.
        distillation_temperature: by which both networks' logits are divided, of 'soft'.
        precision: of matrix products; norms, softmax, performer, weights and sums are float32 in any case.
        loss_scale: first factor on the loss in float16; it adapts from there.
        loss_scale_growth: steps without overflow before the factor is doubled.
        ema_decay: of the moving average of the weights, which is evaluated besides them; no average when null.
        ema_warmup: smaller decays at the beginning, for short runs.
        recompute: compute the blocks' activations anew in the backward pass instead of keeping them.
        flash_attention: attention as one operator of Ascend (Atlas A2), in half precision.
        log_every: steps between two lines of the log.
        eval_every: epochs between two evaluations.
        patience: epochs without a better score after which training ends; it never does before its time when null.
        save_every: steps between two checkpoints, besides those at the end of epochs; none when null.
        keep_checkpoints: how many of the latest checkpoints are kept, besides the best.
        tensorboard: write event files too (needs requirements-tensorboard.txt).
    """

    batch_size: int = 128
    accumulate: int = 1
    loss: LossName = "cross_entropy"
    class_weights: ClassBalance = "none"
    label_smoothing: float = 0.1
    teacher: str | None = None
    distillation: DistillationForm = "soft"
    distillation_weight: float = 0.5
    distillation_temperature: float = 1.0
    precision: Precision = "float32"
    loss_scale: float = 65536.0
    loss_scale_growth: int = 2000
    ema_decay: float | None = None
    ema_warmup: bool = False
    recompute: bool = False
    flash_attention: bool = False
    log_every: int = 50
    eval_every: int = 1
    patience: int | None = None
    save_every: int | None = None
    keep_checkpoints: int = 2
    tensorboard: bool = False


@dataclass
class Config:
    """Everything that decides a run.

    Args:
        device: CPU, GPU or Ascend; what is there when null.
        seed: of initial weights, data order, augmentation and dropout.
        output: folder of all runs; a run lives in <output>/<config name>.
        limit_batches: stop each epoch and evaluation after so many batches.
        init_from: checkpoint to start from instead of random weights.
        init_head: rows of that checkpoint's head are taken over by the names of their labels ('by_name'), or the head
            as it stands ('as_is').
        freeze: names of parameters to keep at their values, shell-style patterns such as patch_embed.*.
        compiler_cache: keep the compiled graph in the run's folder, so that it starts faster the next time.
    """

    device: Literal["CPU", "GPU", "Ascend"] | None = None
    seed: int = 42
    output: str = "output"
    limit_batches: int | None = None
    init_from: str | None = None
    init_head: Literal["by_name", "as_is"] = "by_name"
    freeze: list[str] = field(default_factory=list)
    compiler_cache: bool = True
    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    train: TrainConfig = field(default_factory=TrainConfig)


def flat_hints(section: type, prefix: str = "") -> dict[str, Any]:
    """Dotted key to type, in the order of the dataclasses."""
    hints = {}
    for name, hint in get_type_hints(section).items():
        hints |= flat_hints(hint, f"{prefix}{name}.") if is_dataclass(hint) else {prefix + name: hint}
    return hints


def flat_values(section: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key in fields(section):
        value = getattr(section, key.name)
        if is_dataclass(value):
            yield from flat_values(value, f"{prefix}{key.name}.")
        else:
            yield prefix + key.name, value
