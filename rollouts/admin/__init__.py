"""The pages of rollouts: their list, the form of a plan, the evidence, and the buttons of people."""

from rollouts.admin.rollouts import RolloutAdmin as RolloutAdmin
