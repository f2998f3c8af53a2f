// A finished run of two members, as a coordinator would return it.
#pragma once

#include "atelier/v1/coordinator.pb.h"

namespace atelier::cli {

inline v1::Run SampleRun() {
  v1::Run run;
  run.set_run_id("r-1");
  run.set_state(v1::RUN_DONE);
  run.set_created_unix_ms(1'790'000'000'000);
  run.set_ended_unix_ms(1'790'000'600'000);
  v1::RunPlan& plan = *run.mutable_plan();
  plan.set_name("paintings");
  plan.set_recipe("fast");
  plan.set_dataset(".");
  plan.add_stages()->set_name("train");
  v1::EnsembleVersion& ensemble = *run.mutable_ensemble();
  ensemble.set_name("paintings");
  ensemble.set_version(3);
  for (const char* name : {"<script>alert(1)</script>", "dog & cat"}) {
    ensemble.add_classes(name);
    v1::ClassCount& count = *run.mutable_dataset()->add_classes();
    count.set_name(name);
    count.set_found(60);
    count.set_used(60);
    count.set_training(54);
    count.set_validation(6);
  }
  run.mutable_dataset()->set_labeled(120);
  v1::QuarantinedFile& bad = *run.mutable_dataset()->add_quarantined();
  bad.set_file("=cmd,\"x\".jpg");
  bad.set_reason("not a picture");
  for (const char* name : {"xception", "lite"}) {
    v1::MemberSpec& spec = *plan.add_members();
    spec.set_name(name);
    spec.set_backbone("tiny_cnn");
    v1::EnsembleMember& member = *ensemble.add_members();
    member.set_name(name);
    member.set_weights_digest(std::string(64, name[0] == 'x' ? 'a' : 'b'));
    v1::Task& task = *run.add_tasks();
    task.set_member(name);
    task.set_stage("train");
    task.set_state(v1::TASK_DONE);
    v1::Attempt& attempt = *task.add_attempts();
    attempt.set_trainer("t-1");
    attempt.mutable_end()->set_epoch(2);
    attempt.set_end_kind(v1::ATTEMPT_DONE);
    attempt.mutable_device()->set_name("cpu");
    task.mutable_result()->set_weights_digest(member.weights_digest());
    for (int i = 0; i < 2; ++i) {
      v1::EpochMetrics& epoch = *task.mutable_result()->add_history();
      epoch.set_epoch(i);
      epoch.set_loss(1.0 - 0.25 * i);
      epoch.set_val_accuracy(0.5 + 0.25 * i);
    }
    v1::MemberMetrics& scored = *run.mutable_metrics()->add_members();
    scored.set_name(name);
    scored.set_accuracy(0.75);
    scored.set_log_loss(0.5);
  }
  v1::EnsembleMetrics& metrics = *run.mutable_metrics();
  metrics.set_images(12);
  metrics.set_accuracy(10.0 / 12);
  metrics.set_accuracy_low(0.55);
  metrics.set_accuracy_high(0.95);
  metrics.set_log_loss(0.4);
  for (const int n : {5, 1, 1, 5}) metrics.add_confusion(n);
  return run;
}

}  // namespace atelier::cli
