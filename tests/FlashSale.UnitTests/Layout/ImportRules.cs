using System.Reflection;
using System.Text.RegularExpressions;
using NetArchTest.Rules;

namespace FlashSale.UnitTests.Layout;

/// <summary>
/// Tells which folders of Core a folder may know: Platform, Contracts &lt;- Sales &lt;- Admission, Stock &lt;- Orders
/// &lt;- Ledger.
/// </summary>
internal static partial class ImportRules
{
    private static readonly Dictionary<string, string[]> Allowed = new()
    {
        ["Platform"] = [],
        ["Contracts"] = [],
        ["Sales"] = ["Platform", "Contracts"],
        ["Admission"] = ["Platform", "Contracts", "Sales"],
        ["Stock"] = ["Platform", "Contracts", "Sales"],
        ["Orders"] = ["Platform", "Contracts", "Sales", "Admission", "Stock"],
        ["Ledger"] = ["Platform", "Contracts", "Sales", "Admission", "Stock", "Orders"],
    };

    public static IEnumerable<string> Folders => Allowed.Keys;

    /// <summary>Returns the violations in a source file of a folder.</summary>
    public static IEnumerable<string> ViolationsOfSource(string folder, string path, string source)
    {
        var code = CSharpText.CodeOnly(source);
        var declared = NamespacePattern().Match(code).Groups[1].Value;
        if (declared != "FlashSale." + folder) yield return $"{path}: is in namespace '{declared}', its folder is {folder}";
        foreach (var imported in QualifiedPattern().Matches(code).Select(match => match.Groups[1].Value).Distinct())
        {
            if (!IsAllowed(folder, imported)) yield return $"{path}: {folder} imports {imported}";
        }
    }

    /// <summary>
    /// Returns the violations in the types of a compiled assembly. It finds references that a source scan cannot, such
    /// as partly qualified names.
    /// </summary>
    public static IEnumerable<string> ViolationsOf(Assembly assembly) =>
        from folder in Folders
        from other in Folders.Where(other => !IsAllowed(folder, other))
        from type in Reaching(assembly, folder, $"FlashSale.{other}")
        select $"{type.FullName}: {folder} imports {other}";

    /// <summary>Returns the types of a folder that refer to a namespace, or to a type, in any way.</summary>
    public static IEnumerable<IType> Reaching(Assembly assembly, string folder, string name) =>
        Types.InAssembly(assembly).That().ResideInNamespace($"FlashSale.{folder}").And().HaveDependencyOnAny(name).GetTypes();

    private static bool IsAllowed(string folder, string imported) =>
        folder == imported || (Allowed.TryGetValue(folder, out var allowed) && allowed.Contains(imported));

    [GeneratedRegex(@"\bnamespace\s+([\w.]+)")]
    private static partial Regex NamespacePattern();

    [GeneratedRegex(@"\bFlashSale\s*\.\s*(\w+)")]
    private static partial Regex QualifiedPattern();
}
