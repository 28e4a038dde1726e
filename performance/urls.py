from django.urls import path

from performance.api.feedback import FeedbackView
from performance.api.performance import PerformanceView

urlpatterns = [
    path("api/v1/feedback", FeedbackView.as_view(), name="feedback"),
    path("api/v1/models/<str:model_name>/performance", PerformanceView.as_view(), name="performance"),
]
