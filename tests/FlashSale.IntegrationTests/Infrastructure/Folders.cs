namespace FlashSale.IntegrationTests.Infrastructure;

/// <summary>Removes folders of servers that may still be writing their last lines.</summary>
public static class Folders
{
    public static bool TryDelete(DirectoryInfo folder)
    {
        try
        {
            folder.Delete(recursive: true);
            return true;
        }
        catch (DirectoryNotFoundException)
        {
            return true;
        }
        catch (IOException)
        {
            return false;
        }
    }
}
