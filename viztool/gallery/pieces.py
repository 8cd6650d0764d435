"""What hangs in the gallery, in its order."""

from __future__ import annotations

from viztool.gallery.atlas_pieces import ATLAS_PIECES
from viztool.gallery.circuit_pieces import CIRCUIT_PIECES
from viztool.gallery.concept_pieces import CONCEPT_PIECES
from viztool.gallery.demo_pieces import DEMO_PIECES
from viztool.gallery.kernel_pieces import KERNEL_PIECES
from viztool.gallery.piece import Piece

_FEATURES, _HEATMAPS = "Feature maps", "Where it looked"

PIECES = (
    Piece(
        "features_cat",
        _FEATURES,
        "What each stage sees",
        "From edges to parts: the last layer at each resolution of the embedded network, and of each the 16 channels "
        "that tell the most about where. The faded border of the photo is what the network is not shown.",
        ("features", "{inputs}/cat.jpg"),
    ),
    Piece(
        "features_coffee_overlay",
        _FEATURES,
        "The maps over the photo",
        "The same for another photo, each map laid over what the network was given.",
        ("features", "{inputs}/coffee.jpg", "--overlay", "--top", "8"),
    ),
    Piece(
        "features_astronaut_shared",
        _FEATURES,
        "One colour scale for a layer",
        "With a scale of its own each channel looks equally strong. With one for the whole layer one sees which are.",
        ("features", "{inputs}/astronaut.jpg", "--normalize", "layer"),
    ),
    Piece(
        "features_rocket_all",
        _FEATURES,
        "Every channel of one layer",
        "All 112 channels of the last block at 14 × 14, in the order of their score.",
        ("features", "{inputs}/rocket.jpg", "-l", "blocks.4", "--all"),
    ),
    Piece(
        "features_camera_first_block",
        _FEATURES,
        "Inside the first block",
        "A grey photo in the first layers: the stem's filters before and after their norm and ReLU6, then the "
        "depthwise filters and the linear projection of the first block.",
        ("features", "{inputs}/camera.jpg", "-l", "conv_stem", "-l", "bn1", "-l", "blocks.0.0.bn?", "--top", "8"),
    ),
    Piece(
        "cam_cat",
        _HEATMAPS,
        "Where the evidence is, and whether to believe it",
        "Grad-CAM of the predicted class in the layer's own cells and over the photo. The last lines say how fast the "
        "probability comes and goes with the pixels in the order of the map, beside random maps as coarse: here the "
        "map does no better than chance at taking out, so it is not to be leant on.",
        ("cam", "{inputs}/cat.jpg", "--check"),
    ),
    Piece(
        "cam_two_classes",
        _HEATMAPS,
        "Two classes in one picture",
        "Half a cup and half a cat, so that it is known where each class is. The box is the left half: what speaks "
        "for the espresso lies in it, what speaks for the cat does not.",
        (
            *("cam", "{inputs}/coffee_and_cat.jpg", "--target", "espresso", "--target", "Egyptian cat"),
            *("--box", "0,0,256,512", "--check"),
        ),
    ),
    Piece(
        "cam_hirescam",
        _HEATMAPS,
        "Where Grad-CAM fails and HiResCAM does not",
        "In a middle block, Grad-CAM's mean of the gradients over the plane forgets where they were: less than half "
        "of its map for the espresso lies on the cup, less than by chance. HiResCAM multiplies place by place.",
        (
            *("cam", "{inputs}/coffee_and_cat.jpg", "--target", "espresso", "-l", "blocks.4"),
            *("--method", "gradcam", "--method", "hirescam", "--box", "0,0,256,512", "--check"),
        ),
    ),
    Piece(
        "cam_all",
        _HEATMAPS,
        "Every method side by side",
        "Eighteen class activation maps of the espresso in a photo of a cup and a cat. Those that follow the class "
        "find the cup; many of them agree, since the network ends in a global mean and one linear layer, where they "
        "are the same by their mathematics.",
        ("cam", "{inputs}/coffee_and_cat.jpg", "--method", "all", "--target", "espresso"),
        slow=True,
    ),
    Piece(
        "attribute_all",
        _HEATMAPS,
        "Which pixels, by every method",
        "Thirteen attributions to pixels. Where a method's map should add up to the score, the sum that it has "
        "stands below it, and in red what it misses.",
        ("attribute", "{inputs}/cat.jpg", "--method", "all", "--set", "steps=300"),
        slow=True,
    ),
    Piece(
        "cam_randomized",
        _HEATMAPS,
        "Grad-CAM falls apart with the network, as it should",
        "The weights are randomised from the classifier down. A map that explains what was learnt must not survive "
        "that, and its rank correlation with the original soon is below ± 0.5: on the 49 cells of this "
        "map chance alone reaches ± 0.28.",
        ("cam", "{inputs}/coffee.jpg", "--randomize", "weights"),
    ),
    Piece(
        "attribute_randomized",
        _HEATMAPS,
        "Guided backpropagation does not",
        "The same check: after half of the network is noise the map is still much the same. It draws the edges of the "
        "photo, whatever the network has learnt (Adebayo et al. 2018).",
        ("attribute", "{inputs}/coffee.jpg", "--method", "guided_backprop", "--randomize", "weights"),
    ),
    *ATLAS_PIECES,
    *CIRCUIT_PIECES,
    *CONCEPT_PIECES,
    *KERNEL_PIECES,
    *DEMO_PIECES,
)
"""Every piece."""
