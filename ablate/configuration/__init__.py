"""What may be set, and what is made of it. Imports nothing heavy until a configuration is resolved."""

from ablate.configuration.ranges import RANGES as RANGES
from ablate.configuration.resolve import Job as Job
from ablate.configuration.resolve import resolve as resolve
from ablate.configuration.schema import CONF as CONF
from ablate.configuration.schema import Config as Config
from ablate.configuration.seeds import parse_seeds as parse_seeds
from ablate.errors import IncompatibleSettings as IncompatibleSettings
