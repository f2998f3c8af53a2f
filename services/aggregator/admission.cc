#include "services/aggregator/admission.h"

#include <string>
#include <utility>

#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace atelier::aggregator {
namespace {

constexpr char kPushbackPayload[] = "atelier/pushback-ms";

}  // namespace

Admission::Admission(const RequestLimits& limits, std::function<void(int64_t)> on_bytes)
    : limits_(limits), on_bytes_(std::move(on_bytes)) {}

Admission::Ticket::Ticket(Admission& owner, int pictures, int64_t bytes)
    : owner_(owner), pictures_(pictures), bytes_(bytes) {}

Admission::Ticket::~Ticket() {
  MutexLock lock(owner_.mutex_);
  --owner_.tickets_;
  owner_.AddBytes(-bytes_);
  if (!answered_) owner_.Leave(pictures_);
}

void Admission::Ticket::Answered() {
  MutexLock lock(owner_.mutex_);
  if (!std::exchange(answered_, true)) owner_.Leave(pictures_);
}

absl::StatusOr<std::unique_ptr<Admission::Ticket>> Admission::Enter(int pictures, int64_t bytes) {
  MutexLock lock(mutex_);
  if (closed_) return absl::UnavailableError("this aggregator is shutting down; try another one");
  const bool fits = tickets_ == 0 || (bytes_ + bytes <= limits_.max_queued_bytes &&
                                      pictures_ + pictures <= limits_.max_queued_pictures);
  if (!fits) {
    absl::Status status = absl::UnavailableError(
        absl::StrCat("overloaded: ", tickets_, " requests with ", pictures_, " pictures and ",
                     bytes_, " bytes are in work; try again in ", limits_.pushback.count(), " ms"));
    status.SetPayload(kPushbackPayload, absl::Cord(absl::StrCat(limits_.pushback.count())));
    return status;
  }
  ++tickets_;
  ++requests_;
  pictures_ += pictures;
  AddBytes(bytes);
  return std::unique_ptr<Ticket>(new Ticket(*this, pictures, bytes));
}

void Admission::Leave(int pictures) {
  --requests_;
  pictures_ -= pictures;
  left_.NotifyAll();
}

void Admission::AddBytes(int64_t bytes) {
  bytes_ += bytes;
  if (on_bytes_) on_bytes_(bytes_);
}

void Admission::Close() {
  MutexLock lock(mutex_);
  closed_ = true;
}

bool Admission::closed() const {
  MutexLock lock(mutex_);
  return closed_;
}

bool Admission::WaitEmpty(std::chrono::steady_clock::time_point deadline) {
  MutexLock lock(mutex_);
  return left_.WaitUntil(mutex_, deadline,
                         [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return requests_ == 0; });
}

int64_t Admission::bytes() const {
  MutexLock lock(mutex_);
  return bytes_;
}

std::optional<std::chrono::milliseconds> PushbackOf(const absl::Status& status) {
  const absl::optional<absl::Cord> payload = status.GetPayload(kPushbackPayload);
  int64_t millis = 0;
  if (!payload.has_value() || !absl::SimpleAtoi(std::string(*payload), &millis)) {
    return std::nullopt;
  }
  return std::chrono::milliseconds(millis);
}

}  // namespace atelier::aggregator
