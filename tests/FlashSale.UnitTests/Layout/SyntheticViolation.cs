#pragma warning disable MA0048, IDE0130 // These stand in for types of Core, so they claim its namespaces.
namespace FlashSale.Ledger.Synthetic
{
    internal static class InCode
    {
        public static int Value() => 1;
    }

    internal static class InLambda
    {
        public static int Value() => 2;
    }

    internal static class InAsync
    {
        public static int Value() => 3;
    }

    internal sealed class AsArgument;

    internal sealed class InSignature;
}

namespace FlashSale.Platform.Synthetic
{
    /// <summary>Reaches from Platform into Ledger in every way that leaves no `using` behind.</summary>
    internal static class Reaching
    {
        public static int Code() => Ledger.Synthetic.InCode.Value();

        public static Func<int> Lambda() => () => Ledger.Synthetic.InLambda.Value();

        public static async Task<int> Async()
        {
            await Task.Yield();
            return Ledger.Synthetic.InAsync.Value();
        }

        public static object Argument() => new List<Dictionary<int, Ledger.Synthetic.AsArgument[]>>();

        public static void Signature(Ledger.Synthetic.InSignature? unused) => _ = unused;
    }
}
