#include "services/aggregator/remote_member.h"

#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/status.h"

namespace atelier::aggregator {
namespace {

using SteadyClock = std::chrono::steady_clock;

// Less patience than this says nothing about the trainer: a client's short deadline must not make
// a healthy one suspect.
constexpr std::chrono::seconds kTelling{2};

// One prediction on its way through the candidates.
struct Call {
  PixelsPtr pictures;
  SteadyClock::time_point deadline;
  Member::Done done;
  std::vector<std::string> addresses;
  size_t next = 0;
  std::set<std::string> asked_again;  // after their streams broke
  absl::Status refusal;               // the most telling one so far
};

class RemoteMember final : public Member, public std::enable_shared_from_this<RemoteMember> {
 public:
  RemoteMember(const v1::EnsembleMember& spec, TrainerDirectory& directory,
               std::shared_ptr<Member> fallback)
      : spec_(spec), directory_(directory), fallback_(std::move(fallback)) {}

  const v1::EnsembleMember& spec() const override { return spec_; }
  // The request that waits for its trainer.
  int Copies(int64_t /*bytes*/) const override { return 1; }

  void Predict(PixelsPtr pictures, SteadyClock::time_point deadline, Done done) override {
    auto call = std::make_shared<Call>();
    call->pictures = std::move(pictures);
    call->deadline = deadline;
    call->done = std::move(done);
    TrainerDirectory::Choice choice =
        directory_.Candidates(spec_.model().backbone(), spec_.weights_digest());
    if (fallback_ != nullptr) {
      choice.addresses.resize(choice.addresses.size() - choice.suspects);
    }
    call->addresses = std::move(choice.addresses);
    TryNext(call);
  }

 private:
  void TryNext(const std::shared_ptr<Call>& call) {
    const auto now = SteadyClock::now();
    if (now >= call->deadline) return GiveUp(*call);
    while (call->next < call->addresses.size()) {
      const std::string& address = call->addresses[call->next++];
      if (auto client = directory_.Client(address); client != nullptr) {
        return Ask(*client, address, now, call);
      }
    }
    if (fallback_ == nullptr) return GiveUp(*call);
    fallback_->Predict(call->pictures, call->deadline, call->done);
  }

  void Ask(trainer::PredictClient& client, const std::string& address, SteadyClock::time_point now,
           const std::shared_ptr<Call>& call) {
    const bool last = call->next == call->addresses.size() && fallback_ == nullptr;
    const auto patience = last ? call->deadline - now : (call->deadline - now) / 2;
    v1::PredictRequest request;
    *request.mutable_model() = spec_.model();
    request.set_weights_digest(spec_.weights_digest());
    request.set_size(call->pictures->count);
    request.set_pixels(call->pictures->bytes);
    client.Predict(
        std::move(request), now + patience,
        [self = shared_from_this(), call, address, patience](absl::StatusOr<v1::Matrix> answer) {
          self->OnAnswer(call, address, patience >= kTelling, std::move(answer));
        });
  }

  void OnAnswer(const std::shared_ptr<Call>& call, const std::string& address, bool telling,
                absl::StatusOr<v1::Matrix> answer) {
    if (answer.ok()) {
      directory_.ReportAnswer(address);
      call->done(std::move(answer));
      return;
    }
    // Its connection may merely have come of age. Whoever else there is comes first.
    if (absl::IsAborted(answer.status()) && call->asked_again.insert(address).second) {
      call->addresses.push_back(address);
    }
    if (telling && absl::IsDeadlineExceeded(answer.status())) directory_.ReportSilence(address);
    if (call->refusal.ok() || IsTransient(call->refusal)) {
      call->refusal = Annotate(answer.status(), absl::StrCat("trainer ", address));
    }
    TryNext(call);
  }

  void GiveUp(const Call& call) {
    if (!call.refusal.ok()) {
      call.done(call.refusal);
    } else if (call.addresses.empty()) {
      call.done(absl::UnavailableError(
          absl::StrCat("no trainer there holds backbone ", spec_.model().backbone())));
    } else {
      call.done(absl::DeadlineExceededError("no time was left to ask a trainer"));
    }
  }

  const v1::EnsembleMember spec_;
  TrainerDirectory& directory_;
  const std::shared_ptr<Member> fallback_;
};

}  // namespace

bool IsTransient(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kDeadlineExceeded:
    case absl::StatusCode::kCancelled:
    case absl::StatusCode::kResourceExhausted:
    case absl::StatusCode::kAborted:
      return true;
    default:
      return false;
  }
}

std::shared_ptr<Member> MakeRemoteMember(const v1::EnsembleMember& spec,
                                         TrainerDirectory& directory,
                                         std::shared_ptr<Member> fallback) {
  return std::make_shared<RemoteMember>(spec, directory, std::move(fallback));
}

}  // namespace atelier::aggregator
