"""The ONNX operators that a served model may use.

They are those that scikit-learn, XGBoost, LightGBM and tabular networks of PyTorch and TensorFlow export. Excluded:

- Loop and SequenceMap: a few bytes can run forever. If and Scan are bounded by the graph and the rows;
- results whose shape depends on values (NonZero, Compress, Unique, StringSplit), joined strings (StringConcat), and
  image resizing: a client's number or string must not decide how much memory a prediction uses. With `SIZE_INPUTS` this
  makes every shape a function of the number of rows alone;
- random numbers: a prediction must be repeatable;
- RegexFullMatch: a pattern is a program; ImageDecoder: decoders have bugs;
- sequences and maps (DictVectorizer): they are not tensors. A ZipMap at the end is removed before this check.

Of the domain of ONNX Runtime, CDist is allowed, which skl2onnx writes with ``optim="cdist"``.
"""

_ELEMENTWISE = """
    Abs Acos Acosh Add And Asin Asinh Atan Atanh BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor Cast CastLike Ceil
    Celu Clip Cos Cosh Div Elu Equal Erf Exp Floor Gelu Greater GreaterOrEqual HardSigmoid HardSwish Identity IsInf
    IsNaN LeakyRelu Less LessOrEqual Log Max Mean Min Mish Mod Mul Neg Not Or PRelu Pow Reciprocal Relu Round Selu
    Shrink Sigmoid Sign Sin Sinh Softplus Softsign Sqrt StringNormalizer Sub Sum Swish Tan Tanh
    ThresholdedRelu Where Xor
"""
_REDUCTIONS = """
    ArgMax ArgMin CumSum Hardmax LogSoftmax LpNormalization ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax
    ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Softmax TopK
"""
_SHAPES = """
    Concat Constant ConstantOfShape Expand EyeLike Flatten Gather GatherElements GatherND OneHot Pad Range Reshape
    ScatterElements ScatterND Shape Size Slice Split Squeeze Tile Transpose Trilu Unsqueeze
"""
_LAYERS = """
    Attention AveragePool BatchNormalization Conv DequantizeLinear Dropout DynamicQuantizeLinear Einsum GRU Gemm
    GlobalAveragePool GlobalMaxPool GroupNormalization InstanceNormalization LSTM LayerNormalization MatMul
    MatMulInteger MaxPool MeanVarianceNormalization QLinearMatMul QuantizeLinear RMSNormalization RNN TfIdfVectorizer
"""
_ML = """
    ArrayFeatureExtractor Binarizer CategoryMapper FeatureVectorizer Imputer LabelEncoder LinearClassifier
    LinearRegressor Normalizer OneHotEncoder SVMClassifier SVMRegressor Scaler TreeEnsemble TreeEnsembleClassifier
    TreeEnsembleRegressor
"""

# Operators that contain other graphs.
SUBGRAPH_OPERATORS = frozenset({"If", "Scan"})

# By domain; "" and "ai.onnx" are the same domain.
ALLOWED_OPERATORS: dict[str, frozenset[str]] = {
    "": SUBGRAPH_OPERATORS | frozenset((_ELEMENTWISE + _REDUCTIONS + _SHAPES + _LAYERS).split()),
    "ai.onnx.ml": frozenset(_ML.split()),
    "com.microsoft": frozenset({"CDist"}),
}

# Inputs (by position) that determine the shape of a result. Their values must come from constants and shapes.
SIZE_INPUTS: dict[str, tuple[int, ...]] = {
    "ConstantOfShape": (0,),
    "Expand": (1,),
    "OneHot": (1,),
    "Pad": (1, 3),
    "Range": (0, 1, 2),
    "Reshape": (1,),
    "Slice": (1, 2, 3, 4),
    "Split": (1,),
    "Squeeze": (1,),
    "Tile": (1, 2),
    "TopK": (1,),
    "Unsqueeze": (1,),
}

# Operators whose result depends on a tensor's shape and not on its values.
SHAPE_OPERATORS = frozenset({"Shape", "Size"})
