#include "services/aggregator/batch_split.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/concurrency/mutex.h"

namespace atelier::aggregator {
namespace {

// Collects the pieces' answers.
class Assembly {
 public:
  Assembly(size_t pieces, Member::Done done)
      : answers_(pieces), missing_(pieces), done_(std::move(done)) {}

  void Put(size_t piece, absl::StatusOr<v1::Matrix> answer) {
    {
      MutexLock lock(mutex_);
      if (answer.ok()) {
        answers_[piece] = *std::move(answer);
      } else if (status_.ok()) {
        status_ = answer.status();
      }
      if (--missing_ > 0) return;
    }
    done_(Join());
  }

 private:
  absl::StatusOr<v1::Matrix> Join() {
    MutexLock lock(mutex_);
    if (!status_.ok()) return status_;
    v1::Matrix whole = std::move(answers_.front());
    for (size_t i = 1; i < answers_.size(); ++i) {
      if (answers_[i].columns() != whole.columns()) {
        return absl::DataLossError(absl::StrCat("pieces of one answer have ", whole.columns(),
                                                " and ", answers_[i].columns(), " columns"));
      }
      whole.set_rows(whole.rows() + answers_[i].rows());
      whole.mutable_data()->append(answers_[i].data());
    }
    return whole;
  }

  Mutex mutex_;
  std::vector<v1::Matrix> answers_ ABSL_GUARDED_BY(mutex_);
  size_t missing_ ABSL_GUARDED_BY(mutex_);
  absl::Status status_ ABSL_GUARDED_BY(mutex_);
  const Member::Done done_;
};

class SplitMember final : public Member {
 public:
  SplitMember(std::shared_ptr<Member> member, int64_t max_bytes)
      : member_(std::move(member)), max_bytes_(max_bytes) {}

  const v1::EnsembleMember& spec() const override { return member_->spec(); }
  // The pieces, and the copies of these.
  int Copies(int64_t bytes) const override {
    return (bytes > max_bytes_ ? 1 : 0) + member_->Copies(std::min(bytes, max_bytes_));
  }

  void Predict(PixelsPtr pictures, std::chrono::steady_clock::time_point deadline,
               Done done) override {
    const int64_t picture = int64_t{pictures->size} * pictures->size * pictures->channels;
    const int piece =
        static_cast<int>(std::max<int64_t>(1, max_bytes_ / std::max<int64_t>(1, picture)));
    if (pictures->count <= piece) {
      member_->Predict(std::move(pictures), deadline, std::move(done));
      return;
    }
    const int pieces = (pictures->count + piece - 1) / piece;
    auto assembly = std::make_shared<Assembly>(static_cast<size_t>(pieces), std::move(done));
    for (int i = 0; i < pieces; ++i) {
      const int first = i * piece;
      auto part = std::make_shared<Pixels>();
      part->count = std::min(piece, pictures->count - first);
      part->size = pictures->size;
      part->channels = pictures->channels;
      part->bytes = pictures->bytes.substr(static_cast<size_t>(first * picture),
                                           static_cast<size_t>(part->count * picture));
      member_->Predict(std::move(part), deadline, [assembly, i](absl::StatusOr<v1::Matrix> answer) {
        assembly->Put(static_cast<size_t>(i), std::move(answer));
      });
    }
  }

 private:
  const std::shared_ptr<Member> member_;
  const int64_t max_bytes_;
};

}  // namespace

std::shared_ptr<Member> SplitBatches(std::shared_ptr<Member> member, int64_t max_bytes) {
  return std::make_shared<SplitMember>(std::move(member), max_bytes);
}

}  // namespace atelier::aggregator
