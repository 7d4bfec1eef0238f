namespace FlashSale.IntegrationTests.Life;

/// <summary>
/// One event in the life of a sale. Its numbers choose among the users, items and orders of that moment.
/// </summary>
public abstract record Happening
{
    public sealed record Buy(int User, int Item, int Quantity) : Happening;

    public sealed record Pay(int Order) : Happening;

    public sealed record Cancel(int Order) : Happening;

    public sealed record Expire(int Order) : Happening;

    public sealed record Refund(int Order) : Happening;

    public sealed record Retry(int Order) : Happening;

    public sealed record ChangeStock(int Item, int Delta) : Happening;

    public sealed record Pause : Happening;

    public sealed record Resume : Happening;

    public sealed record Rebuild : Happening;

    /// <summary>The workers die and start again while the next thing happens.</summary>
    public sealed record WorkersDie : Happening;

    /// <summary>Redis dies and starts again while the next thing happens.</summary>
    public sealed record RedisDies : Happening;
}

/// <summary>An order as the model knows it.</summary>
public sealed class ModelOrder(Guid orderId, string key, int user, int item, int quantity)
{
    public Guid OrderId => orderId;

    public string Key => key;

    public int User => user;

    public int Item => item;

    public int Quantity => quantity;

    public string Status { get; set; } = "pending_payment";

    public bool IsLive => Status is "pending_payment" or "paid";
}

/// <summary>
/// The books of a sale as plain numbers. They say a second time, without any store, how every answer and every account
/// must be.
/// </summary>
public sealed class HistoryModel
{
    public const int Users = 4;
    public const int Items = 2;
    public const int Limit = 3;
    public const int MaxCancellations = 2;

    private readonly Dictionary<int, int> _cancellations = [];

    public int[] Stock { get; } = [5, 8];

    public List<ModelOrder> Orders { get; } = [];

    public bool IsPaused { get; private set; }

    public int Live(int item) => Orders.Where(order => order.Item == item && order.IsLive).Sum(order => order.Quantity);

    public int Remaining(int item) => Stock[item] - Live(item);

    /// <summary>The code of the answer, or null for an acceptance.</summary>
    public string? Buy(Happening.Buy buy)
    {
        if (IsPaused) return "sale_paused";
        if (Orders.Where(order => order.User == buy.User && order.Item == buy.Item && order.IsLive).Sum(order => order.Quantity) + buy.Quantity > Limit) return "purchase_limit_reached";
        return Remaining(buy.Item) < buy.Quantity ? "sold_out" : null;
    }

    /// <summary>The answer of pay_order to a new payment.</summary>
    public static string Pay(ModelOrder order)
    {
        if (order.Status != "pending_payment") return "refunded";
        order.Status = "paid";
        return "paid";
    }

    /// <summary>Whether the answer is 200.</summary>
    public bool Cancel(ModelOrder order)
    {
        if (order.Status == "cancelled") return true;
        if (order.Status != "pending_payment" || _cancellations.GetValueOrDefault(order.User) >= MaxCancellations) return false;
        _cancellations[order.User] = _cancellations.GetValueOrDefault(order.User) + 1;
        order.Status = "cancelled";
        return true;
    }

    public static void Expire(ModelOrder order)
    {
        if (order.Status == "pending_payment") order.Status = "expired";
    }

    /// <summary>Whether the answer is 200.</summary>
    public static bool Refund(ModelOrder order)
    {
        if (order.Status == "paid") order.Status = "refunded";
        return order.Status == "refunded";
    }

    /// <summary>Whether the answer is 200.</summary>
    public bool ChangeStock(Happening.ChangeStock change)
    {
        if (Remaining(change.Item) + change.Delta < 0) return false;
        Stock[change.Item] += change.Delta;
        return true;
    }

    /// <summary>Whether the answer is 200.</summary>
    public bool Turn(bool paused)
    {
        var changes = IsPaused != paused;
        IsPaused = paused;
        return changes;
    }
}
