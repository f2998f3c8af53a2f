#include "services/cli/export/onnx_graph.h"

#include "absl/strings/str_cat.h"

namespace atelier::exporting {
namespace {

void SetType(onnx::ValueInfoProto* value, const std::string& name, int type,
             const std::vector<int64_t>& shape) {
  value->set_name(name);
  auto* const tensor = value->mutable_type()->mutable_tensor_type();
  tensor->set_elem_type(type);
  for (const int64_t n : shape) {
    auto* const dim = tensor->mutable_shape()->add_dim();
    if (n == 0) {
      dim->set_dim_param("N");
    } else {
      dim->set_dim_value(n);
    }
  }
}

onnx::AttributeProto* Attribute(onnx::NodeProto* node, const char* name,
                                onnx::AttributeProto::AttributeType type) {
  onnx::AttributeProto* const attribute = node->add_attribute();
  attribute->set_name(name);
  attribute->set_type(type);
  return attribute;
}

}  // namespace

void OnnxGraph::Input(const std::string& name, int type, const std::vector<int64_t>& shape) {
  SetType(graph_->add_input(), name, type, shape);
}

void OnnxGraph::Output(const std::string& name, const std::vector<int64_t>& shape) {
  SetType(graph_->add_output(), name, onnx::TensorProto::FLOAT, shape);
}

std::string OnnxGraph::Tensor(const std::string& name, const std::vector<int64_t>& shape,
                              std::string_view bytes) {
  onnx::TensorProto* const tensor = graph_->add_initializer();
  tensor->set_name(name);
  tensor->set_data_type(onnx::TensorProto::FLOAT);
  for (const int64_t n : shape) tensor->add_dims(n);
  tensor->set_raw_data(bytes.data(), bytes.size());
  return name;
}

std::string OnnxGraph::Tensor(const std::string& name, const std::vector<int64_t>& shape,
                              const std::vector<float>& values) {
  return Tensor(name, shape,
                std::string_view(reinterpret_cast<const char*>(values.data()),
                                 values.size() * sizeof(float)));
}

std::string OnnxGraph::Scalar(float value) {
  std::string name = absl::StrCat("constant/", value);
  for (const onnx::TensorProto& tensor : graph_->initializer()) {
    if (tensor.name() == name) return name;
  }
  return Tensor(name, {}, std::vector<float>{value});
}

onnx::NodeProto* OnnxGraph::Node(const std::string& op, const std::string& name,
                                 const std::vector<std::string>& inputs) {
  onnx::NodeProto* const node = graph_->add_node();
  node->set_op_type(op);
  node->set_name(name);
  for (const std::string& input : inputs) node->add_input(input);
  node->add_output(name);
  return node;
}

void SetInts(onnx::NodeProto* node, const char* name, const std::vector<int64_t>& values) {
  onnx::AttributeProto* const attribute = Attribute(node, name, onnx::AttributeProto::INTS);
  for (const int64_t value : values) attribute->add_ints(value);
}

void SetInt(onnx::NodeProto* node, const char* name, int64_t value) {
  Attribute(node, name, onnx::AttributeProto::INT)->set_i(value);
}

void SetFloat(onnx::NodeProto* node, const char* name, float value) {
  Attribute(node, name, onnx::AttributeProto::FLOAT)->set_f(value);
}

}  // namespace atelier::exporting
