"""The use cases of inference: answering, tokens, what is captured, and the archive of observations."""

from inference.services.prediction import Answer as Answer
from inference.services.prediction import count_unreadable_request as count_unreadable_request
from inference.services.prediction import predict as predict
from inference.services.tokens import create_token as create_token
from inference.services.tokens import revoke_token as revoke_token
