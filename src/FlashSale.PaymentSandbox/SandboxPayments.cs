using System.Security.Cryptography;
using System.Text.Json.Serialization;

namespace FlashSale.PaymentSandbox;

/// <summary>Where a payment stands at the provider.</summary>
public enum PaymentStatus
{
    /// <summary>Waits for the shopper.</summary>
    [JsonStringEnumMemberName("open")]
    Open,

    /// <summary>Paid.</summary>
    [JsonStringEnumMemberName("paid")]
    Paid,

    /// <summary>Paid; the money is on its way back.</summary>
    [JsonStringEnumMemberName("refunding")]
    Refunding,

    /// <summary>The money is back.</summary>
    [JsonStringEnumMemberName("refunded")]
    Refunded,
}

/// <summary>A payment at the provider.</summary>
public sealed record Payment(string PaymentId, Guid OrderId, Money Amount, DateTimeOffset PayBy, PaymentStatus Status);

/// <summary>
/// The provider's books. In memory, where a real provider has a database: this is the sandbox of a third party, and the
/// product must do without its memory anyway.
/// </summary>
public sealed class SandboxPayments(NoticeSender notices, BehaviourSwitch behaviour, TimeProvider time)
{
    private readonly Lock _sync = new();
    private readonly Dictionary<string, Payment> _payments = new(StringComparer.Ordinal);
    private readonly Dictionary<string, string> _byKey = new(StringComparer.Ordinal);
    private readonly HashSet<string> _refusedKeys = new(StringComparer.Ordinal);

    /// <summary>Whether a request is refused as it is: all are while the behaviour says so, and one whose key was refused before, as many providers do.</summary>
    public bool Refuses(string key)
    {
        lock (_sync) return _refusedKeys.Contains(key) || (behaviour.Now.Refuse && _refusedKeys.Add(key));
    }

    /// <summary>Makes a payment, once for each key.</summary>
    /// <returns>Null when the key was used for another payment.</returns>
    public Payment? Create(string key, Guid orderId, Money amount, DateTimeOffset payBy)
    {
        Payment payment;
        lock (_sync)
        {
            if (_byKey.TryGetValue(key, out var known))
            {
                var before = _payments[known];
                return before.OrderId == orderId && before.Amount == amount ? before : null;
            }
            payment = new Payment($"pay_{RandomNumberGenerator.GetHexString(20, lowercase: true)}", orderId, amount, payBy, PaymentStatus.Open);
            _payments[payment.PaymentId] = payment;
            _byKey[key] = payment.PaymentId;
        }
        if (behaviour.Now.AutoPay) Pay(payment.PaymentId);
        return payment;
    }

    /// <summary>Finds a payment.</summary>
    public Payment? Find(string paymentId)
    {
        lock (_sync) return _payments.GetValueOrDefault(paymentId);
    }

    /// <summary>The shopper pays.</summary>
    /// <returns>The payment after it; null when there is none.</returns>
    public Payment? Pay(string paymentId)
    {
        var now = behaviour.Now;
        Payment payment;
        lock (_sync)
        {
            if (!_payments.TryGetValue(paymentId, out payment!)) return null;
            if (payment.Status is not PaymentStatus.Open || payment.PayBy < time.GetUtcNow()) return payment;
            if (now.Outcome != "fail") _payments[paymentId] = payment = payment with { Status = PaymentStatus.Paid };
        }
        if (now.Outcome == "fail" || now.Shuffle) notices.Send("payment.failed", payment, now);
        if (now.Outcome != "fail") notices.Send("payment.succeeded", payment, now);
        return payment;
    }

    /// <summary>
    /// Gives a payment back. The first time it is under way and a notice will tell; asked again after that it is done.
    /// While nothing is told (<c>never</c>) it stays under way.
    /// </summary>
    /// <returns>Null when there is no such payment, or nothing was paid.</returns>
    public PaymentStatus? Refund(string paymentId)
    {
        var now = behaviour.Now;
        Payment payment;
        lock (_sync)
        {
            if (!_payments.TryGetValue(paymentId, out payment!) || payment.Status is PaymentStatus.Open) return null;
            if (payment.Status is PaymentStatus.Refunded || (payment.Status is PaymentStatus.Refunding && now.Outcome == "never")) return payment.Status;
            var done = payment.Status is PaymentStatus.Refunding;
            _payments[paymentId] = payment = payment with { Status = done ? PaymentStatus.Refunded : PaymentStatus.Refunding };
            if (done) return PaymentStatus.Refunded;
        }
        notices.Send("payment.refunded", payment, now);
        return payment.Status;
    }

    /// <summary>Tells that a part of a payment was given back, which the merchant had not asked for.</summary>
    /// <returns>Whether there is such a payment, and that is a part of it.</returns>
    public bool RefundPart(string paymentId, long amount)
    {
        if (Find(paymentId) is not { } payment || amount <= 0 || amount >= payment.Amount.Amount) return false;
        notices.Send("payment.refunded", payment with { Amount = payment.Amount with { Amount = amount } }, behaviour.Now);
        return true;
    }
}
