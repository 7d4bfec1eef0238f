using System.Text;
using FlashSale.Admin.Http;
using FlashSale.Admin.Sales;
using FlashSale.Contracts;
using FlashSale.Sales;
using Microsoft.AspNetCore.Http;

namespace FlashSale.UnitTests.Admin;

public sealed class SaleFormTests
{
    [Theory]
    [InlineData("2026-11-11T00:00:00Z", 1_794_355_200_000)]
    [InlineData("2026-11-11t00:00:00.123456789z", 1_794_355_200_123)]
    [InlineData("2026-11-11T08:00:00+08:00", 1_794_355_200_000)]
    [InlineData("2026-11-10T23:59:59.999-00:00", 1_794_355_199_999)]
    [InlineData("1970-01-01T00:00:00Z", 0)]
    [InlineData("9999-12-31T23:59:59.999Z", 253_402_300_799_999)]
    public void A_time_has_a_date_a_clock_time_and_an_offset(string text, long unixMilliseconds)
    {
        Assert.True(Timestamps.TryRead(text, out var read));
        Assert.Equal(unixMilliseconds, read);
    }

    [Theory]
    [InlineData("2026-11-11")]
    [InlineData("2026-11-11T00:00:00")]
    [InlineData("2026-11-11 00:00:00Z")]
    [InlineData("2026-11-11T00:00Z")]
    [InlineData("2026-02-30T00:00:00Z")]
    [InlineData("2026-11-11T24:00:00Z")]
    [InlineData("2026-11-11T00:00:00+0800")]
    [InlineData("2026-11-11T00:00:00+99:00")]
    [InlineData("2026-11-11T00:00:00Z\n")]
    [InlineData("11/11/2026")]
    [InlineData("")]
    [InlineData("0001-01-01T00:00:00Z")]
    [InlineData("1969-12-31T23:59:59.999Z")]
    [InlineData("1970-01-01T00:00:00+00:01")]
    [InlineData("9999-12-31T23:59:59-00:01")]
    [InlineData("9999-12-31T23:59:59.9999999999Z")]
    public void Anything_else_is_no_time(string text) => Assert.False(Timestamps.TryRead(text, out _));

    [Theory]
    [InlineData("ab", true)]
    [InlineData("限时抢购 📱", true)]
    [InlineData("", false)]
    [InlineData(" \u3000", false)]
    [InlineData("a\nb", false)]
    [InlineData("a\0", false)]
    public void A_name_is_for_people(string name, bool valid) => Assert.Equal(valid, SaleBounds.IsName(name));

    [Fact]
    public void A_name_is_counted_in_characters_and_not_in_code_units()
    {
        Assert.True(SaleBounds.IsName(string.Concat(Enumerable.Repeat("📱", 200))));
        Assert.False(SaleBounds.IsName(string.Concat(Enumerable.Repeat("📱", 201))));
    }

    [Fact]
    public async Task What_is_not_said_has_its_default()
    {
        var (draft, refused) = await ReadAsync("""
            {"name":"S","opensAt":"2030-01-01T00:00:00Z","closesAt":"2030-01-02T00:00:00Z","perUserLimit":null,
             "items":[{"sku":"a","name":"A","price":{"amount":1,"currency":"CNY"},"listPrice":null,"stock":2}]}
            """);
        Assert.Null(refused);
        Assert.Equal((null, 900, false, null), (draft!.PerUserLimit, draft.PayWithinSeconds, draft.RequiresTicket, draft.AdmissionPerSecond));
        Assert.Equal([new ItemDraft("a", "A", 1, null, "CNY", 2, 1)], draft.Items);
    }

    [Theory]
    [InlineData("""
        "requiresTicket":true,"admissionPerSecond":1,
        """, true, 1)]
    [InlineData("""
        "requiresTicket":false,"admissionPerSecond":1000000,
        """, false, 1_000_000)]
    [InlineData("""
        "requiresTicket":null,"admissionPerSecond":null,
        """, false, null)]
    public async Task Tickets_and_their_rate_are_read(string members, bool requiresTicket, int? admissionPerSecond)
    {
        var (draft, refused) = await ReadAsync($$"""{"name":"S","opensAt":"2030-01-01T00:00:00Z","closesAt":"2030-01-02T00:00:00Z",{{members}}"items":[]}""");
        Assert.Null(refused);
        Assert.Equal((requiresTicket, admissionPerSecond), (draft!.RequiresTicket, draft.AdmissionPerSecond));
    }

    [Fact]
    public async Task A_thousand_errors_are_told_as_a_hundred()
    {
        var (_, refused) = await ReadAsync($$"""{"items":[{{string.Join(',', Enumerable.Repeat("1", 1_000))}}]}""");
        var context = new DefaultHttpContext { Response = { Body = new MemoryStream() } };
        await refused!.ExecuteAsync(context);
        context.Response.Body.Position = 0;
        using var problem = await System.Text.Json.JsonDocument.ParseAsync(context.Response.Body);
        Assert.Equal(100, problem.RootElement.GetProperty("errors").GetArrayLength());
    }

    private static Task<(SaleDraft? Value, IResult? Refused)> ReadAsync(string body)
    {
        var context = new DefaultHttpContext();
        context.Request.ContentType = "application/json; charset=utf-8";
        context.Request.Body = new MemoryStream(Encoding.UTF8.GetBytes(body));
        return JsonForm.ReadAsync(context.Request, SaleForm.Read);
    }
}
