//! What scenarios of an agent begin with, and how they are told what came of things.

use rekindle::session::{Command, Extras, Observation, Phase, Report, Seq, SessionSpec, StepDone};
use rekindle::testing::Scenario;

/// An agent that has started, and was told what memory says of the first message.
pub fn started(spec: SessionSpec) -> Scenario {
    let mut scenario = Scenario::new().given(Command::Create { spec: Box::new(spec), node: Scenario::node() });
    while let Phase::Starting(start) = &scenario.session.phase {
        let step = start.current().unwrap();
        let attempt = scenario.session.step(step).unwrap().attempt;
        scenario = scenario.given(Command::StepDone { step, attempt, done: StepDone::Report(Report::default()) });
    }
    observed(scenario, Observation { content: String::new(), extras: Extras::Null })
}

/// The action that is under way comes to this.
pub fn observed(scenario: Scenario, observation: Observation) -> Scenario {
    let action = scenario.session.in_flight().expect("an action is under way").seq;
    scenario.given(Command::Observe { action, observation: Box::new(observation), recorded: None })
}

/// What the model is asked.
pub fn request(scenario: &Scenario) -> Seq {
    scenario.session.model.expect("the agent is asked").request
}
