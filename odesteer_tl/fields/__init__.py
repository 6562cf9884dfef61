"""Fields: velocities da/dt = v(a) on the residual stream."""

from odesteer_tl.fields.affine import AffineField as AffineField
from odesteer_tl.fields.autoencoder import LatentField as LatentField
from odesteer_tl.fields.autoencoder import SparseAutoencoder as SparseAutoencoder
from odesteer_tl.fields.barrier import BarrierField as BarrierField
from odesteer_tl.fields.barrier_set import BarrierSet as BarrierSet
from odesteer_tl.fields.base import VectorField as VectorField
from odesteer_tl.fields.concept_flow import ConceptFlowField as ConceptFlowField
from odesteer_tl.fields.constant import ConstantField as ConstantField
from odesteer_tl.fields.control import ControlField as ControlField
from odesteer_tl.fields.correction import CorrectionField as CorrectionField
from odesteer_tl.fields.curved import CurvedField as CurvedField
from odesteer_tl.fields.detector import DetectorField as DetectorField
from odesteer_tl.fields.filter import FilterField as FilterField
from odesteer_tl.fields.gated import GatedField as GatedField
from odesteer_tl.fields.gradient import GradientField as GradientField
from odesteer_tl.fields.learned import LearnedFlowField as LearnedFlowField
from odesteer_tl.fields.on_manifold import OnManifoldField as OnManifoldField
from odesteer_tl.fields.plane import PlaneField as PlaneField
from odesteer_tl.fields.pseudo_rotation import PseudoRotationField as PseudoRotationField
from odesteer_tl.fields.rotation import RotationField as RotationField
from odesteer_tl.fields.router import RouterField as RouterField
from odesteer_tl.fields.value import ValueField as ValueField

FIELDS: dict[str, type[VectorField]] = {
    cls.__name__: cls
    for cls in (
        AffineField,
        BarrierField,
        BarrierSet,
        ConceptFlowField,
        ConstantField,
        ControlField,
        CorrectionField,
        CurvedField,
        DetectorField,
        FilterField,
        GatedField,
        GradientField,
        LatentField,
        LearnedFlowField,
        OnManifoldField,
        PlaneField,
        PseudoRotationField,
        RotationField,
        RouterField,
        ValueField,
    )
}
