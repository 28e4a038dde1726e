"""The use cases of inference: answering, tokens, what is captured, and the archive of observations."""

from inference.services.capture import remove_capture_policy as remove_capture_policy
from inference.services.capture import save_capture_policy as save_capture_policy
from inference.services.ground_truth import ItemOutcome as ItemOutcome
from inference.services.ground_truth import Outcome as Outcome
from inference.services.ground_truth import record_ground_truth as record_ground_truth
from inference.services.observations import ObservationOutcome as ObservationOutcome
from inference.services.observations import ObservationStatus as ObservationStatus
from inference.services.observations import ObservedElsewhere as ObservedElsewhere
from inference.services.observations import record_observations as record_observations
from inference.services.prediction import Answer as Answer
from inference.services.prediction import count_unreadable_request as count_unreadable_request
from inference.services.prediction import predict as predict
from inference.services.tokens import create_token as create_token
from inference.services.tokens import revoke_token as revoke_token
