package sage_test

import (
	"bytes"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"

	"sageengine/sage"
)

func TestQuantizeAndBack(t *testing.T) {
	x := []float32{0.5, -2, 0.25, 1}
	codes, scale, mean, back := make([]int8, 4), make([]float32, 2), make([]float32, 2), make([]float32, 4)
	in, out := sage.NewTensor(x, 1, 1, 2, 2), sage.NewTensor(codes, 1, 1, 2, 2)
	scales, means := sage.NewTensor(scale, 1, 1, 2), sage.NewTensor(mean, 1, 1, 2)
	byToken := sage.Quantization{Granularity: sage.PerToken}
	report := must[sage.QuantizeReport](t)(byToken.Quantize(in, out, scales))
	if !reflect.DeepEqual(codes, []int8{32, -127, 32, 127}) || scale[0] != 2.0/127 || scale[1] != 1.0/127 {
		t.Fatal(codes, scale)
	}
	if report.Elements != 4 || report.CodeBytes != 4 || report.ScaleBytes != 8 || report.Saturated != 0 {
		t.Fatal(report)
	}
	byToken.Mean = &means
	must[sage.QuantizeReport](t)(byToken.Quantize(in, out, scales))
	if mean[0] != 0.375 || mean[1] != -0.5 {
		t.Fatal(mean)
	}
	if err := byToken.Dequantize(out, scales, sage.NewTensor(back, 1, 1, 2, 2)); err != nil {
		t.Fatal(err)
	}
	for i := range x {
		if math.Abs(float64(back[i]-x[i])) > 0.01 {
			t.Fatal(back)
		}
	}
	scale[0], scale[1] = 0.01, 0.01
	given := sage.Quantization{Granularity: sage.PerToken, GivenScales: true}
	report = must[sage.QuantizeReport](t)(given.Quantize(in, out, scales))
	if report.Saturated != 1 || !reflect.DeepEqual(codes, []int8{50, -127, 25, 100}) {
		t.Fatal(report, codes)
	}
}

func TestQuantizePackedInBuffers(t *testing.T) {
	x, codes := must[*sage.Buffer[float32]](t)(sage.NewBuffer[float32](6)),
		must[*sage.Buffer[int16]](t)(sage.NewBuffer[int16](6))
	copy(x.Slice(), []float32{1, 2, 3, 4, 5, 6})
	scale := make([]float32, 2)
	starts := sage.NewTensor([]int32{0, 1, 3}, 3)
	byHead := sage.Quantization{Granularity: sage.PerHead, CuSeqlens: &starts}
	in, out := x.Tensor(3, 1, 2), codes.Tensor(3, 1, 2)
	must[sage.QuantizeReport](t)(byHead.Quantize(in, out, sage.NewTensor(scale, 2, 1)))
	if scale[0] != 2.0/32767 || scale[1] != 6.0/32767 || codes.Slice()[5] != 32767 {
		t.Fatal(scale, codes.Slice())
	}
	x.Close()
	if _, err := byHead.Quantize(in, out, sage.NewTensor(scale, 2, 1)); !errors.Is(err, sage.ErrClosed) {
		t.Fatal(err)
	}
	codes.Close()
}

func TestQuantizeRefuses(t *testing.T) {
	nan := float32(math.NaN())
	codes, scale := make([]int8, 4), []float32{7, 7}
	words := make([]byte, 20)
	for _, one := range []struct {
		x     []float32
		codes sage.Tensor
		by    sage.Quantization
		says  string
	}{
		{[]float32{1, 2, nan, 4}, sage.NewTensor(codes, 1, 1, 2, 2), sage.Quantization{Granularity: sage.PerToken},
			"x[0,0,1,0] is nan"},
		{[]float32{1, 2, 3, 4}, sage.NewTensor(codes, 1, 1, 2, 2), sage.Quantization{Granularity: sage.PerHead},
			"scale has the shape [1, 1, 2], [1, 1] is expected"},
		{[]float32{1, 2, 3, 4}, sage.NewTensor(codes, 1, 1, 2, 2), sage.Quantization{}, "granularity is 0"},
		{[]float32{1, 2, 3, 4}, sage.NewTensor(codes, 1, 1, 2, 2), sage.Quantization{Granularity: sage.PerBlock},
			"scale_block is 0"},
		{[]float32{1, 2, 3, 4}, sage.NewTensor(codes, 1, 1, 2, 3), sage.Quantization{Granularity: sage.PerToken},
			"a shape of 6 bytes was given with a slice of 4"},
		{[]float32{1, 2, 3, 4}, sage.Describe(sage.I8, 1, 1, 2, 2), sage.Quantization{Granularity: sage.PerToken},
			"codes has no data"},
	} {
		_, err := one.by.Quantize(sage.NewTensor(one.x, 1, 1, 2, 2), one.codes, sage.NewTensor(scale, 1, 1, 2))
		if !errors.Is(err, sage.ErrInvalidArgument) || !strings.Contains(err.Error(), one.says) {
			t.Errorf("%v instead of %s", err, one.says)
		}
	}
	// In one memory: the codes would be written over what is still to be read.
	in, out := sage.TensorAs(sage.F32, words[:16], 1, 1, 2, 2), sage.TensorAs(sage.I8, words[15:19], 1, 1, 2, 2)
	byToken := sage.Quantization{Granularity: sage.PerToken}
	if _, err := byToken.Quantize(in, out, sage.NewTensor(scale, 1, 1, 2)); err == nil ||
		!strings.Contains(err.Error(), "codes is written and overlaps x") {
		t.Error(err)
	}
	if !bytes.Equal(words, make([]byte, 20)) || scale[0] != 7 || codes[0] != 0 {
		t.Error("something was written")
	}
}

func TestHowExactASessionWas(t *testing.T) {
	s := session(t, "op_graph.fbs")
	if _, err := s.Accuracy(); !errors.Is(err, sage.ErrInvalidArgument) ||
		!strings.Contains(err.Error(), "accuracy_report") {
		t.Fatal(err)
	}
	s = session(t, "op_graph.fbs", sage.WithOption("accuracy_report", "true"))
	for i, shape := range [][]int64{{1, 2, 3, 4}, {1, 1, 5, 4}, {1, 1, 5, 4}} {
		data := make([]float32, shape[1]*shape[2]*shape[3])
		for n := range data {
			data[n] = float32(n%5) - 2
		}
		if err := s.SetInput(i, sage.NewTensor(data, shape...)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Run(background); err != nil {
		t.Fatal(err)
	}
	if text := must[[]byte](t)(s.Accuracy()); !bytes.Contains(text, []byte(`"cosine"`)) {
		t.Fatal(string(text))
	}
}
