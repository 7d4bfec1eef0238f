using System.Text;
using FlashSale.Orders;

namespace FlashSale.UnitTests.Orders;

public sealed class PaymentNoticeTests
{
    private const string Good =
        """{"type":"payment.succeeded","data":{"orderId":"01234567-89ab-8cde-8f01-23456789abcd","paymentId":"pay_1","amount":{"amount":199900,"currency":"CNY"}}}""";

    [Fact]
    public void A_notice_is_read() => Assert.Equal(
        new PaymentNotice("msg_1", PaymentNoticeType.Succeeded, "payment.succeeded", Guid.Parse("01234567-89ab-8cde-8f01-23456789abcd"), "pay_1", 199_900, "CNY"),
        Read(Good));

    [Theory]
    [InlineData("199900.0")]
    [InlineData("1.999e5")]
    public void An_amount_may_be_spelled_as_a_floating_point_number_that_is_whole(string text) =>
        Assert.Equal(199_900, Read(Good.Replace("199900", text))!.Amount);

    [Fact]
    public void A_byte_order_mark_is_skipped() => Assert.NotNull(PaymentNotice.Read("msg_1", Encoding.UTF8.GetBytes("\uFEFF" + Good), out _));

    [Fact]
    public void The_time_of_a_notice_is_read_where_it_is_told()
    {
        Assert.Null(Read(Good)!.At);
        Assert.Equal(new DateTimeOffset(2026, 1, 1, 0, 0, 0, TimeSpan.Zero), Read(Good.Replace("\"type\"", "\"timestamp\":\"2026-01-01T00:00:00Z\",\"type\""))!.At);
    }

    [Theory]
    [InlineData("payment.failed", PaymentNoticeType.Failed)]
    [InlineData("payment.refunded", PaymentNoticeType.Refunded)]
    public void Each_type_is_known(string type, PaymentNoticeType expected) => Assert.Equal(expected, Read(Good.Replace("payment.succeeded", type))!.Type);

    [Fact]
    public void Another_type_is_read_whatever_its_data_are()
    {
        Assert.Equal(PaymentNoticeType.Other, Read("""{"type":"payout.created"}""")!.Type);
        Assert.Equal(PaymentNoticeType.Other, Read("""{"type":"PAYMENT.SUCCEEDED","data":7}""")!.Type);
    }

    [Fact]
    public void Members_that_are_not_known_are_passed_over() =>
        Assert.NotNull(Read(Good.Replace("\"type\"", "\"timestamp\":\"2026-01-01T00:00:00Z\",\"type\"").Replace("\"paymentId\"", "\"method\":{\"card\":1},\"paymentId\"")));

    [Theory]
    [InlineData("", "body")]
    [InlineData("[]", "body")]
    [InlineData("null", "body")]
    [InlineData("{", "body")]
    [InlineData("{}", "type")]
    [InlineData("""{"type":7}""", "type")]
    [InlineData("""{"type":""}""", "type")]
    [InlineData("""{"type":"a\u0000b"}""", "type")]
    [InlineData("""{"type":"a\ud800b"}""", "body")]
    [InlineData("""{"type":"payment.succeeded"}""", "data")]
    [InlineData("""{"type":"payment.succeeded","data":[]}""", "data")]
    public void What_is_no_notice_is_told(string body, string field) => AssertWrong(body, field);

    [Theory]
    [InlineData("01234567-89ab-8cde-8f01-23456789abcd", "order-1", "data.orderId")]
    [InlineData("\"pay_1\"", "7", "data.paymentId")]
    [InlineData("\"pay_1\"", "\"\"", "data.paymentId")]
    [InlineData("\"pay_1\"", "\"with space\"", "data.paymentId")]
    [InlineData("\"pay_1\"", "\"a\\u0000b\"", "data.paymentId")]
    [InlineData("\"pay_1\"", "\"a\\ud800b\"", "body")]
    [InlineData("{\"amount\":199900,\"currency\":\"CNY\"}", "199900", "data.amount")]
    [InlineData("199900", "-1", "data.amount.amount")]
    [InlineData("199900", "1.5", "data.amount.amount")]
    [InlineData("199900", "\"199900\"", "data.amount.amount")]
    [InlineData("199900", "99999999999999999999", "data.amount.amount")]
    [InlineData("\"CNY\"", "\"cny\"", "data.amount.currency")]
    [InlineData("\"CNY\"", "\"CNYX\"", "data.amount.currency")]
    [InlineData("\"CNY\"", "null", "data.amount.currency")]
    [InlineData("\"paymentId\"", "\"paymentId\":\"pay_0\",\"paymentId\"", "body")]
    public void A_wrong_member_is_named(string right, string wrong, string field) => AssertWrong(Good.Replace(right, wrong), field);

    [Fact]
    public void A_payment_id_may_have_128_characters()
    {
        Assert.NotNull(Read(Good.Replace("pay_1", new string('p', 128))));
        AssertWrong(Good.Replace("pay_1", new string('p', 129)), "data.paymentId");
    }

    private static PaymentNotice? Read(string body) => PaymentNotice.Read("msg_1", Encoding.UTF8.GetBytes(body), out _);

    private static void AssertWrong(string body, string field)
    {
        Assert.Null(PaymentNotice.Read("msg_1", Encoding.UTF8.GetBytes(body), out var error));
        Assert.Equal(field, error.Field);
    }
}
