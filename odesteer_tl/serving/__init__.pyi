from .checks import Audit as Audit
from .checks import NotSteered as NotSteered
from .checks import checked as checked
from .engine import Engine as Engine
from .hook import Saved as Saved
from .hook import SteeringHook as SteeringHook
from .texts import ServedText as ServedText
from .texts import generate_vllm as generate_vllm
