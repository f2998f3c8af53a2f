// bench_coordinator_load ADDRESS PID TRAINERS SECONDS: TRAINERS simulated trainers on a coordinator
// (process PID, with a data-service registered), each on a connection of its own with a task of its
// own, each reporting progress once a second. A round's line has the coordinator's share of one
// core and how long its answers take.
#include <grpcpp/create_channel.h>
#include <grpcpp/grpcpp.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "atelier/v1/fleet_service.grpc.pb.h"
#include "common/concurrency/mutex.h"
#include "common/rpc/channel.h"
#include "services/coordinator/client.h"
#include "tests/bench/round_loop.h"

namespace atelier::coordinator {
namespace {

using SteadyTime = std::chrono::steady_clock::time_point;

constexpr int kMembersARun = 32;  // the most that a plan may have
constexpr std::chrono::seconds kStart{120};
constexpr int kTicksASecond = 100;  // trainers report spread over the second

// Says hello, takes a task, reports on it when told. gRPC's threads call the reactions.
class SimulatedTrainer final
    : public grpc::ClientBidiReactor<v1::TrainerMessage, v1::CoordinatorMessage> {
 public:
  SimulatedTrainer(const std::string& address, int number) {
    grpc::ChannelArguments arguments;
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);  // a connection of its own
    stub_ = v1::FleetService::NewStub(
        grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments));
    out_.mutable_hello()->set_trainer_id(absl::StrCat("simulated-", number));
    out_.mutable_hello()->set_predict_address(":4711");
    out_.mutable_hello()->mutable_device()->set_name("cpu");
    stub_->async()->Work(&context_, this);
    writing_ = true;
    StartWrite(&out_);
    StartRead(&in_);
    StartCall();
  }
  ~SimulatedTrainer() override {
    context_.TryCancel();
    MutexLock lock(mutex_);
    changed_.Wait(mutex_, [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return done_; });
  }

  bool assigned() {
    MutexLock lock(mutex_);
    return assigned_ && !done_;
  }
  void Report() {
    MutexLock lock(mutex_);
    if (!assigned_ || writing_ || done_) return;
    v1::TaskProgress& progress = *out_.mutable_progress();
    *progress.mutable_lease() = lease_;
    progress.set_sequence(++sequence_);
    progress.mutable_cursor()->set_step(static_cast<int>(sequence_));
    progress.set_epochs(3);
    progress.set_steps_in_epoch(1000);
    progress.set_loss(1.0);
    progress.set_accuracy(0.5);
    progress.set_images_per_second(20);
    progress.set_phase("training");
    sent_ = std::chrono::steady_clock::now();
    writing_ = true;
    StartWrite(&out_);
  }
  // Seconds from report to answer, since the last call.
  std::vector<double> TakeAnswers() {
    MutexLock lock(mutex_);
    return std::exchange(answers_, {});
  }

  void OnWriteDone(bool) override {
    MutexLock lock(mutex_);
    writing_ = false;
  }
  void OnReadDone(bool ok) override {
    if (!ok) return;
    MutexLock lock(mutex_);
    if (in_.has_assignment()) {
      lease_ = in_.assignment().lease();
      assigned_ = true;
    } else if (in_.has_renewed() && in_.renewed().sequence() == sequence_) {
      answers_.push_back(bench::Seconds(sent_));
    }
    StartRead(&in_);
  }
  void OnDone(const grpc::Status&) override {
    MutexLock lock(mutex_);
    done_ = true;
    changed_.NotifyAll();
  }

 private:
  std::unique_ptr<v1::FleetService::Stub> stub_;
  grpc::ClientContext context_;
  v1::CoordinatorMessage in_;
  Mutex mutex_;
  CondVar changed_;
  v1::TrainerMessage out_ ABSL_GUARDED_BY(mutex_);
  v1::Lease lease_ ABSL_GUARDED_BY(mutex_);
  SteadyTime sent_ ABSL_GUARDED_BY(mutex_);
  std::vector<double> answers_ ABSL_GUARDED_BY(mutex_);
  int64_t sequence_ ABSL_GUARDED_BY(mutex_) = 0;
  bool assigned_ ABSL_GUARDED_BY(mutex_) = false;
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool done_ ABSL_GUARDED_BY(mutex_) = false;
};

// User and system time of a process, in seconds (proc(5): fields 14 and 15 of stat).
double CpuSeconds(const std::string& pid) {
  std::ifstream file(absl::StrCat("/proc/", pid, "/stat"));
  std::string text;
  std::getline(file, text);
  std::istringstream fields(text.substr(text.rfind(')') + 1));
  std::string skipped;
  for (int field = 3; field < 14; ++field) fields >> skipped;
  double user = 0;
  double system = 0;
  fields >> user >> system;
  return (user + system) / static_cast<double>(::sysconf(_SC_CLK_TCK));
}

v1::RunPlan MakePlan(int number) {
  v1::RunPlan plan;
  plan.set_name(absl::StrCat("load", number));
  plan.set_dataset(".");
  plan.mutable_image()->set_size(32);
  plan.set_batch_size(8);
  plan.set_validation_fraction(0.2);
  for (int i = 0; i < kMembersARun; ++i) {
    v1::MemberSpec& member = *plan.add_members();
    member.set_name(absl::StrCat("member", i));
    member.set_backbone("tiny_cnn");
  }
  v1::StageSpec& stage = *plan.add_stages();
  stage.set_name("train");
  stage.set_epochs(3);
  stage.mutable_optimizer()->set_learning_rate(0.001F);
  return plan;
}

std::string Describe(double cpu, std::vector<double> answers, double expected) {
  std::sort(answers.begin(), answers.end());
  const auto at = [&](double part) {
    return answers.empty()
               ? -1.0
               : answers[static_cast<size_t>(part * static_cast<double>(answers.size() - 1))];
  };
  return absl::StrFormat(
      "{\"share of a core\": %f, \"answered\": %f, \"answer p50 ms\": %f, \"answer p99 ms\": %f}",
      cpu, static_cast<double>(answers.size()) / expected, 1e3 * at(0.5), 1e3 * at(0.99));
}

int Main(const std::string& address, const std::string& pid, int count, double seconds) {
  const auto runs = RunClient::Create(rpc::MakeTcpChannelFactory()->Connect(address));
  for (int run = 0; run * kMembersARun < count; ++run) {
    const auto submitted = runs->Submit(MakePlan(run));
    if (!submitted.ok()) {
      std::fprintf(stderr, "%s\n", submitted.status().ToString().c_str());
      return 1;
    }
  }
  std::vector<std::unique_ptr<SimulatedTrainer>> trainers;
  for (int i = 0; i < count; ++i) {
    trainers.push_back(std::make_unique<SimulatedTrainer>(address, i));
  }
  std::atomic<bool> stop{false};
  std::thread reporting([&] {
    auto next = std::chrono::steady_clock::now();
    for (int64_t tick = 0; !stop; ++tick) {
      for (size_t i = static_cast<size_t>(tick % kTicksASecond); i < trainers.size();
           i += kTicksASecond) {
        trainers[i]->Report();
      }
      next += std::chrono::milliseconds(1000 / kTicksASecond);
      std::this_thread::sleep_until(next);
    }
  });
  const auto assigned = [&] {
    return std::count_if(trainers.begin(), trainers.end(),
                         [](const auto& trainer) { return trainer->assigned(); });
  };
  const auto begun = std::chrono::steady_clock::now();
  while (assigned() < count && bench::Seconds(begun) < kStart.count()) {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  std::fprintf(stderr, "%d of %d trainers have a task after %.1f s\n", static_cast<int>(assigned()),
               count, bench::Seconds(begun));
  const int code = bench::AnswerRounds([&] {
    for (const auto& trainer : trainers) trainer->TakeAnswers();
    const double before = CpuSeconds(pid);
    const auto since = std::chrono::steady_clock::now();
    std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
    const double passed = bench::Seconds(since);
    const double cpu = (CpuSeconds(pid) - before) / passed;
    std::vector<double> answers;
    for (const auto& trainer : trainers) {
      const std::vector<double> some = trainer->TakeAnswers();
      answers.insert(answers.end(), some.begin(), some.end());
    }
    return Describe(cpu, std::move(answers), count * passed);
  });
  stop = true;
  reporting.join();
  return code;
}

}  // namespace
}  // namespace atelier::coordinator

int main(int argc, char** argv) {
  if (argc != 5) return 2;
  return atelier::coordinator::Main(argv[1], argv[2], std::atoi(argv[3]), std::atof(argv[4]));
}
