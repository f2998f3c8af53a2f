#include "services/data/registration.h"

#include <grpcpp/channel.h>
#include <grpcpp/client_context.h>

#include <algorithm>
#include <thread>
#include <utility>

#include "atelier/v1/fleet_service.grpc.pb.h"
#include "common/base/logging.h"
#include "common/concurrency/mutex.h"

namespace atelier::data {
namespace {

constexpr std::chrono::milliseconds kCallTimeout{5'000};
constexpr std::chrono::milliseconds kGoodbyeTimeout{1'000};
constexpr std::chrono::milliseconds kRetryPause{500};

class RegistrationImpl final : public Registration {
 public:
  RegistrationImpl(std::shared_ptr<grpc::Channel> coordinator, std::string id, std::string address)
      : stub_(v1::FleetService::NewStub(std::move(coordinator))) {
    request_.set_id(std::move(id));
    request_.set_address(std::move(address));
    thread_ = std::thread([this] { Run(); });
  }

  ~RegistrationImpl() override {
    {
      MutexLock lock(mutex_);
      stopping_ = true;
      if (under_way_ != nullptr) under_way_->TryCancel();
      stop_.NotifyAll();
    }
    thread_.join();
    request_.set_leaving(true);
    grpc::ClientContext context;
    Call(context, kGoodbyeTimeout);
  }

 private:
  // As Call, but the destructor may end it. Zero, too, when it has begun.
  std::chrono::milliseconds Register() {
    grpc::ClientContext context;
    {
      MutexLock lock(mutex_);
      if (stopping_) return {};
      under_way_ = &context;
    }
    const std::chrono::milliseconds ttl = Call(context, kCallTimeout);
    MutexLock lock(mutex_);
    under_way_ = nullptr;
    return ttl;
  }

  // The time to live granted; zero when the coordinator did not answer.
  std::chrono::milliseconds Call(grpc::ClientContext& context, std::chrono::milliseconds timeout) {
    context.set_deadline(std::chrono::system_clock::now() + timeout);
    v1::RegisterDataServiceResponse response;
    const grpc::Status status = stub_->RegisterDataService(&context, request_, &response);
    const bool ended = status.error_code() == grpc::StatusCode::CANCELLED;  // by ourselves
    if (!ended && status.ok() != registered_) {
      registered_ = status.ok();
      if (registered_) {
        LogInfo("registered with the coordinator as %s", request_.id());
      } else {
        LogWarning("the coordinator cannot be reached (%s); trying on", status.error_message());
      }
    }
    return std::chrono::milliseconds(status.ok() ? response.ttl_ms() : 0);
  }

  void Run() {
    while (true) {
      const std::chrono::milliseconds ttl = Register();
      const std::chrono::milliseconds pause = ttl.count() > 0 ? ttl / 3 : kRetryPause;
      MutexLock lock(mutex_);
      if (stop_.WaitFor(mutex_, pause,
                        [&]() ABSL_NO_THREAD_SAFETY_ANALYSIS { return stopping_; })) {
        return;
      }
    }
  }

  const std::unique_ptr<v1::FleetService::Stub> stub_;
  v1::RegisterDataServiceRequest request_;
  bool registered_ = false;
  Mutex mutex_;
  CondVar stop_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  grpc::ClientContext* under_way_ ABSL_GUARDED_BY(mutex_) = nullptr;
  std::thread thread_;
};

}  // namespace

std::unique_ptr<Registration> Registration::Start(std::shared_ptr<grpc::Channel> coordinator,
                                                  std::string id, std::string address) {
  return std::make_unique<RegistrationImpl>(std::move(coordinator), std::move(id),
                                            std::move(address));
}

}  // namespace atelier::data
