using System.Buffers;
using System.Buffers.Text;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using FlashSale.Admin.Http;
using FlashSale.Admin.Sales;
using FlashSale.Admission;
using FlashSale.Api.Purchase;
using FlashSale.Contracts;
using FlashSale.Orders;
using FlashSale.Sales;
using FlashSale.UnitTests.Admission;
using Microsoft.Extensions.Time.Testing;

namespace FlashSale.UnitTests.Fuzzing;

/// <summary>
/// Tests the parsers of foreign bytes. Any input leads to one of the expected outcomes, and an accepted input means the
/// same when it is written again.
/// </summary>
public sealed class ParserTests
{
    // This is far above the need of a parser of some hundred bytes, and far below that of a parser that grows with a
    // number in its input.
    private const long MostBytes = 256 * 1024;

    [Fact]
    public void A_token_of_any_shape_is_judged()
    {
        var verifier = JwtForge.Verifier();
        var accepted = 0;
        Fuzz.Run([.. Payloads().Select(Encoding.UTF8.GetBytes)], payload =>
        {
            // The token is signed, so that the verifier reads the payload.
            var input = $"{JwtForge.Encode(JwtForge.GoodHeader)}.{Base64Url.EncodeToString(payload)}";
            var token = $"{input}.{Base64Url.EncodeToString(HMACSHA256.HashData(Encoding.UTF8.GetBytes(JwtForge.Secret), Encoding.ASCII.GetBytes(input)))}";
            Bounded(() =>
            {
                var result = verifier.Verify("Bearer " + token, out var user);
                Assert.Equal(result is JwtResult.Ok, UserId.IsValid(user));
                if (result is not JwtResult.Ok) return;
                accepted++;
                Assert.Equal(user, JsonDocument.Parse(payload).RootElement.GetProperty("sub").GetString());
            });
        });
        Assert.True(accepted > 100, $"only {accepted} were good: inconclusive");
    }

    [Fact]
    public void A_header_and_a_signature_of_any_shape_are_judged()
    {
        var verifier = JwtForge.Verifier();
        var good = "Bearer " + JwtForge.Token(JwtForge.GoodPayload);
        Fuzz.Run([Encoding.ASCII.GetBytes(good)], header => Bounded(() =>
        {
            var text = Encoding.Latin1.GetString(header);
            var isGood = verifier.Verify(text, out var user) is JwtResult.Ok;
            // The scheme's letters may be of any case. The token has one spelling.
            Assert.Equal(isGood, string.Equals(text, good, StringComparison.OrdinalIgnoreCase) && text[7..] == good[7..]);
            Assert.Equal(isGood ? "user-1" : "", user);
        }));
    }

    [Fact]
    public void A_purchase_of_any_shape_is_read_or_told()
    {
        var accepted = 0;
        string[] good = ["""{"sku":"phone-1","quantity":1}""", """ { "quantity" : 1000, "sku" : "\u0061.b_C" } """];
        Fuzz.Run([.. good.Select(Encoding.UTF8.GetBytes)], body => Bounded(() =>
        {
            var (errors, sku, quantity) = Read(body);
            if (errors is not null)
            {
                Assert.NotEmpty(errors);
                return;
            }
            accepted++;
            Assert.True(PurchaseBody.IsSku(sku) && quantity is >= 1 and <= PurchaseBody.MaxQuantity);
            var again = Read(JsonSerializer.SerializeToUtf8Bytes(new { sku, quantity }));
            Assert.Null(again.Errors);
            Assert.Equal((sku, quantity), (again.Sku, again.Quantity));
        }));
        Assert.True(accepted > 100, $"only {accepted} were good: inconclusive");

        static (List<FlashSale.Platform.ProblemError>? Errors, string Sku, int Quantity) Read(byte[] body)
        {
            var sku = new char[PurchaseBody.MaxSku];
            var errors = PurchaseBody.Parse(new ReadOnlySequence<byte>(body), sku, out var length, out var quantity);
            return (errors, new string(sku, 0, length), quantity);
        }
    }

    [Fact]
    public void Items_of_any_shape_are_read_or_told_by_line()
    {
        var accepted = 0;
        string[] good = ["sku,name,price,listPrice,currency,stock,perUserLimit\na,\"A, \"\"b\"\"\",1,,CNY,2,\r\nb-2,顾客,0,7,EUR,2000000000,1000000\n"];
        Fuzz.Run([.. good.Select(Encoding.UTF8.GetBytes)], file =>
        {
            var (items, errors) = ItemFile.Read(file);
            Assert.All(errors.ToProblem(), error => Assert.True(error.Line >= 1 && error.Message.Length is > 0 and < 2_000));
            if (errors.Any) return;
            accepted++;
            var again = string.Concat(items.Select(item =>
                $"{item.Sku},\"{item.Name.Replace("\"", "\"\"", StringComparison.Ordinal)}\",{item.Price},{item.ListPrice},{item.Currency},{item.Stock},{item.PerUserLimit}\n"));
            Assert.Equal(items, ItemFile.Read(Encoding.UTF8.GetBytes(good[0].Split('\n')[0] + "\n" + again)).Items);
        });
        Assert.True(accepted > 50, $"only {accepted} were good: inconclusive");
    }

    [Fact]
    public void A_notice_of_any_shape_is_read_or_told()
    {
        var accepted = 0;
        const string Good = """{"type":"payment.succeeded","data":{"orderId":"01234567-89ab-8cde-8f01-23456789abcd","paymentId":"pay_1","amount":{"amount":199900,"currency":"CNY"}}}""";
        Fuzz.Run([Encoding.UTF8.GetBytes(Good), Encoding.UTF8.GetBytes(Good.Replace("pay_1", "\\u0070\\ud83d\\ude00", StringComparison.Ordinal)), "{\"type\":\"other\"}"u8.ToArray()], body => Bounded(() =>
        {
            if (PaymentNotice.Read("msg_1", body, out var error) is not { } notice)
            {
                Assert.True(error.Field.Length > 0 && error.Message.Length > 0);
                return;
            }
            accepted++;
            if (notice.Type is PaymentNoticeType.Other) return;
            var again = JsonSerializer.SerializeToUtf8Bytes(new
            {
                type = notice.TypeText, data = new { orderId = notice.OrderId, paymentId = notice.PaymentId, amount = new { amount = notice.Amount, currency = notice.Currency } },
            });
            Assert.Equal(notice, PaymentNotice.Read("msg_1", again, out _));
        }));
        Assert.True(accepted > 100, $"only {accepted} were good: inconclusive");
    }

    [Fact]
    public void Headers_of_a_webhook_of_any_shape_are_judged()
    {
        var now = new FakeTimeProvider(JwtForge.Now);
        var hook = new StandardWebhook([new byte[32]], now);
        var (id, time, body) = ("msg_1", JwtForge.NowSeconds.ToString(), "{}"u8.ToArray());
        var good = $"{id}\n{time}\n{hook.Sign(id, JwtForge.NowSeconds, body)}";
        Fuzz.Run([Encoding.ASCII.GetBytes(good)], headers => Bounded(() =>
        {
            var parts = Encoding.Latin1.GetString(headers).Split('\n');
            var (givenId, givenTime, signatures) = (parts[0], parts.ElementAtOrDefault(1), parts.ElementAtOrDefault(2));
            var isValid = hook.Verify(givenId, givenTime, signatures, body) is WebhookSignature.Valid;
            // Only the message that was signed is valid, perhaps among other signatures.
            if (isValid) Assert.Equal((id, time), (givenId, givenTime));
            if (Encoding.Latin1.GetString(headers) == good) Assert.True(isValid);
        }));
    }

    private static string[] Payloads() =>
    [
        JwtForge.GoodPayload, JwtForge.GoodPayload.Replace("user-1", "auth0|7\\u007c+/=", StringComparison.Ordinal),
        JwtForge.GoodPayload.Replace("\"flashsale\"", "[\"other\",\"flashsale\"]", StringComparison.Ordinal).Replace("\"iat\"", "\"client_id\":\"app\",\"nbf\":1,\"roles\":{\"a\":[1,2]},\"iat\"", StringComparison.Ordinal),
    ];

    private static void Bounded(Action parse)
    {
        var before = GC.GetAllocatedBytesForCurrentThread();
        parse();
        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, MostBytes);
    }

    // Reading a stream in memory never waits, so the calls may block.
    private static class ItemFile
    {
        public static (List<ItemDraft> Items, LineErrors Errors) Read(byte[] file)
        {
            var errors = new LineErrors();
            using var csv = new ItemCsv(new MemoryStream(file), errors);
            var items = new List<ItemDraft>();
            if (!csv.ReadHeaderAsync(CancellationToken.None).GetAwaiter().GetResult()) return (items, errors);
            while (csv.ReadItemAsync(CancellationToken.None).GetAwaiter().GetResult() is { } item) items.Add(item);
            return (items, errors);
        }
    }
}
