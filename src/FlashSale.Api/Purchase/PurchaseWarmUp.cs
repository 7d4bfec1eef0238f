using System.Buffers;
using FlashSale.Admission;
using FlashSale.Contracts;
using FlashSale.Platform;
using FlashSale.Sales;
using FlashSale.Stock;

namespace FlashSale.Api.Purchase;

/// <summary>
/// Runs the purchase path before the host is ready, so that the first shopper does not wait for the compiler. A run
/// covers a token that is refused, a body, a record, and a call of reserve.lua for a sale that does not exist. Nothing
/// is written.
/// </summary>
public sealed class PurchaseWarmUp(
    JwtVerifier tokens, ReserveScript script, RedisConnection redis, [FromKeyedServices(Dependency.Redis)] Dependency breaker, ScriptFigures figures, PurchaseOptions options) : BackgroundService
{
    private const int Rounds = 40;
    private const int Together = 8;

    // Header and payload of a well-formed token. The signature has the right length and fits no key.
    private const string Token = "Bearer eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJ3YXJtLXVwIiwiaXNzIjoiLSIsImF1ZCI6Ii0iLCJleHAiOjF9.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

    private volatile bool _done;

    /// <summary>Whether the warm-up has ended.</summary>
    public bool IsDone => _done;

    /// <inheritdoc />
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        var gate = new PurchaseGate(new SaleKeys("warm-up"), script, redis, breaker, figures, options);
        for (var round = 0; round < Rounds && !stoppingToken.IsCancellationRequested; round++)
            await Task.WhenAll(Enumerable.Range(0, Together).Select(i => gate.ReserveAsync(MakeRecord(i), ticket: null)));
        _done = true;
    }

    private byte[] MakeRecord(int number)
    {
        Span<char> sku = stackalloc char[PurchaseBody.MaxSku];
        tokens.Verify(Token, out _);
        PurchaseBody.Parse(new ReadOnlySequence<byte>("{\"sku\":\"warm-up\",\"quantity\":1}"u8.ToArray()), sku, out var length, out var quantity);
        IdempotencyKey.TryRead($"key-{number}", out var key);
        var user = Fingerprints.OfUser("warm-up");
        return ReservationCodec.Encode(OrderId.New(0, user, 1), user, 1, new string(sku[..length]), "warm-up", key, quantity, 0, "CNY");
    }
}
